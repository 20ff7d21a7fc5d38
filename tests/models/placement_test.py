import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.models import folding
from logocap_jax.models.layers import ConvNorm


@dataclasses.dataclass(frozen=True)
class Kind:
    device_kind: str


@pytest.fixture
def as_nvidia(monkeypatch):
    """This machine's device, taken for one of NVIDIA's."""
    monkeypatch.setattr(folding, "_is_nvidia", lambda device: True)


def make(rng):
    module, x = ConvNorm(4), jnp.asarray(rng.standard_normal((2, 8, 8, 3)), jnp.float32)
    return module, module.init(jax.random.key(0), x, train=False), x


def test_kernels_in_another_order_are_the_same_to_a_program(as_nvidia):
    module, variables, x = make(np.random.default_rng(0))
    apply = jax.jit(lambda variables, x: module.apply(variables, x, train=False))
    (device,) = x.devices()
    placed = jax.device_put(variables, folding.formats(variables, device))
    kernel = placed["params"]["conv"]["kernel"]
    assert kernel.format.layout.major_to_minor == (3, 0, 1, 2)
    assert placed["params"]["norm"]["bias"].format.layout.major_to_minor == (0,)
    np.testing.assert_array_equal(apply(placed, x), apply(variables, x))


def test_a_program_is_compiled_for_the_order_that_shapes_have(as_nvidia):
    _, variables, x = make(np.random.default_rng(0))
    (device,) = x.devices()
    shapes = jax.tree.map(
        lambda x, placed: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed),
        variables,
        folding.formats(variables, device),
    )
    compiled = jax.jit(lambda variables: variables).lower(shapes).compile()
    (taken,), _ = compiled.input_formats
    order = taken["params"]["conv"]["kernel"].layout.major_to_minor
    assert order == (3, 0, 1, 2)


def test_other_devices_keep_the_order(monkeypatch):
    assert folding._is_nvidia(Kind("NVIDIA H200"))
    for kind in ("cpu", "TPU v5 lite", "AMD Instinct MI300X"):
        assert not folding._is_nvidia(Kind(kind))
    (device,) = jnp.zeros(()).devices()
    found = folding.formats({"kernel": jnp.zeros((1, 1, 2, 3))}, device)
    assert found == {"kernel": jax.sharding.SingleDeviceSharding(device)}
