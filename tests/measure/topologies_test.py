import importlib.util
import os

import jax
import pytest

from logocap_jax.measure.topologies import (
    CHIPS,
    find_devices,
    parse_topology,
)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v5e:16x16", (16, 16)),
        ("v5p:4x4x8", (4, 4, 8)),
        ("v6e:1x1", (1, 1)),
        ("h200:8", (8,)),
        ("cpu:8", (8,)),
    ],
)
def test_name_gives_the_shape(name, shape):
    topology = parse_topology(name)
    assert topology.shape == shape
    assert (topology.chip is None) == name.startswith("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e", "expected such as cpu:8, v5e:2x2, v5p:2x2x2, v6e:2x2, a100:2, h100:2"),
        ("abacus:2x2", "got topology 'abacus:2x2', expected such as"),
        ("v5e:0x4", "expected such as"),
        ("v5e:4x", "expected such as"),
        ("v5e:4x4x4", "expected 2 sides and at most 256 devices for v5e"),
        ("v5p:4x4", "expected 3 sides"),
        ("v5e:32x16", "at most 256 devices"),
        ("h200:16", "expected 1 sides and at most 8 devices for h200"),
        ("cpu:2x2", "expected 1 sides"),
        ("cpu:0", "expected such as"),
    ],
)
def test_names_of_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse_topology(name)


def test_some_of_the_cpu_devices_make_a_topology():
    devices = find_devices(parse_topology("cpu:4"))
    assert list(devices) == jax.devices()[:4]


def test_more_cpu_devices_than_jax_has_started_with_are_refused():
    jax.devices()
    with pytest.raises(ValueError, match=r"cpu:512: JAX has started with \d+ CPU"):
        find_devices(parse_topology("cpu:512"))


@pytest.mark.parametrize(
    ("compiler", "name", "extra"),
    [("libtpu", "v5e:2x2", "tpu-plan"), ("jax_plugins", "h200:8", "cuda")],
)
def test_absent_compiler_is_told_with_what_to_install(
    compiler, name, extra, monkeypatch
):
    if importlib.util.find_spec(compiler) is not None:
        pytest.skip(f"{compiler} is installed")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(ValueError, match=rf"missing: pip install .*\[{extra}\]"):
        find_devices(parse_topology(name))


def test_description_of_a_gpu_holds_what_xla_must_know():
    text = " ".join(CHIPS["a100"].gpu.split())
    for expected in (
        'device_description_str: "NVIDIA A100-SXM4-80GB"',
        "cuda_compute_capability { major: 8 minor: 0 }",
        "core_count: 108",
        "device_memory_size: 80000000000",
        "memory_bandwidth: 2039000000000",
        "shared_memory_per_block_optin: 166912",  # CUDA's guide: 163 KB
    ):
        assert expected in text
