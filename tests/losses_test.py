import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import losses


def test_squared_error_is_elementwise():
    error = losses.squared_error(jnp.asarray([1.0, 2.0]), jnp.asarray([4.0, 0.0]))
    np.testing.assert_array_equal(error, [9, 4])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0, 0.0),
        (0.25, 0.0625),  # 0.25^2 / (2 * 0.5)
        (-0.25, 0.0625),
        (0.5, 0.25),  # both forms agree at beta
        (2.0, 1.75),  # 2 - 0.5 / 2
        (-2.0, 1.75),
    ],
)
def test_smooth_l1_has_the_value_computed_by_hand(error, expected):
    loss = losses.smooth_l1(jnp.asarray([error]), jnp.zeros(1), beta=0.5)
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "slope"), [(-3.0, -1), (-0.05, -0.45), (0.0, 0), (0.05, 0.45), (3.0, 1)]
)
def test_smooth_l1_has_slope_of_at_most_one(error, slope):
    gradient = jax.grad(lambda x: losses.smooth_l1(x, jnp.zeros(()), beta=1 / 9))
    assert gradient(jnp.asarray(error)) == pytest.approx(slope)


@pytest.mark.parametrize(
    "loss", [losses.squared_error, lambda p, t: losses.smooth_l1(p, t, beta=1.0)]
)
def test_shape_mismatch_is_refused(loss):
    with pytest.raises(TypeError):
        loss(jnp.zeros((2, 3)), jnp.zeros((2, 4)))
