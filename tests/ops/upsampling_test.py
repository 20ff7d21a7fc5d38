import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.ops.sampling import upsample_bilinear
from tests.reference import sampling


def _maps(height=3, width=5):
    values = np.random.default_rng(0).standard_normal((2, height, width, 3))
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_upsampling_equals_the_loop(factor):
    maps = _maps()
    found = jax.jit(upsample_bilinear, static_argnums=1)(maps, factor)
    for b in range(2):
        for c in range(3):
            expected = sampling.resize_half_pixel(np.asarray(maps[b, ..., c]), factor)
            np.testing.assert_allclose(found[b, ..., c], expected, atol=1e-6)


def test_a_map_of_one_cell_becomes_a_constant():
    found = upsample_bilinear(_maps(1, 1), 4)
    np.testing.assert_allclose(found, jnp.broadcast_to(_maps(1, 1), found.shape))


def test_gradient_is_that_of_jax_image_resize():
    maps, weights = _maps(), np.random.default_rng(1).standard_normal((2, 12, 20, 3))

    def gradient(upsample):
        return jax.jit(jax.grad(lambda x: jnp.sum(weights * upsample(x))))(maps)

    np.testing.assert_allclose(
        gradient(lambda x: upsample_bilinear(x, 4)),
        gradient(lambda x: jax.image.resize(x, weights.shape, "bilinear")),
        atol=1e-5,
    )


def test_bfloat16_stays_bfloat16():
    assert upsample_bilinear(_maps().astype(jnp.bfloat16), 2).dtype == jnp.bfloat16
