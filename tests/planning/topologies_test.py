import importlib.util
import os

import jax
import pytest

from logocap_jax.planning import topologies


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v5e:16x16", (16, 16)),
        ("v5p:4x4x8", (4, 4, 8)),
        ("v6e:1x1", (1, 1)),
        ("cpu:8", (8,)),
    ],
)
def test_name_gives_the_shape(name, shape):
    topology = topologies.parse_topology(name)
    assert topology.shape == shape
    assert (topology.chip is None) == name.startswith("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e", "expected such as cpu:8, v5e:2x2, v5p:2x2x2, v6e:2x2"),
        ("abacus:2x2", "got topology 'abacus:2x2', expected such as"),
        ("v5e:0x4", "expected such as"),
        ("v5e:4x", "expected such as"),
        ("v5e:4x4x4", "expected 2 sides and at most 256 devices for v5e"),
        ("v5p:4x4", "expected 3 sides"),
        ("v5e:32x16", "at most 256 devices"),
        ("cpu:2x2", "expected 1 sides"),
        ("cpu:0", "expected such as"),
    ],
)
def test_names_of_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        topologies.parse_topology(name)


def test_some_of_the_cpu_devices_make_a_topology():
    devices = topologies.find_devices(topologies.parse_topology("cpu:4"))
    assert list(devices) == jax.devices()[:4]


def test_more_cpu_devices_than_jax_has_started_with_are_refused():
    jax.devices()
    with pytest.raises(ValueError, match=r"cpu:512: JAX has started with \d+ CPU"):
        topologies.find_devices(topologies.parse_topology("cpu:512"))


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed"
)
def test_absent_libtpu_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(ValueError, match=r"libtpu is missing: pip install .*tpu-plan"):
        topologies.find_devices(topologies.parse_topology("v5e:2x2"))
