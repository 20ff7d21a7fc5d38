import importlib.util
import os

import jax
import pytest

from logocap_jax.measure.devices import find_devices
from logocap_jax.measure.topologies import parse_topology


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
