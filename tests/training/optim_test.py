import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from logocap_jax.training.optim import make_optimizer, multi_step_schedule


def schedule(**changes):
    settings = {"milestones": (90.0, 120.0), "decay": 0.1, "warmup": 0.0}
    return multi_step_schedule(1e-3, steps_per_epoch=10, **(settings | changes))


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-3),
        (899, 1e-3),
        (900, 1e-4),
        (1199, 1e-4),
        (1200, 1e-5),
        (1399, 1e-5),
    ],
)
def test_rate_falls_with_the_first_step_after_each_milestone(step, rate):
    np.testing.assert_allclose(schedule()(step), rate, rtol=1e-6)


def test_milestones_may_be_fractions_of_an_epoch():
    rates = schedule(milestones=(0.25, 0.5), decay=0.5)
    got = [float(rates(step)) for step in range(7)]
    np.testing.assert_allclose(got, [1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 2.5e-4, 2.5e-4])


def test_no_milestones_keep_the_rate():
    assert float(schedule(milestones=())(10**6)) == pytest.approx(1e-3)


def test_warm_up_rises_linearly_and_its_last_step_has_the_full_rate():
    rates = schedule(warmup=0.4)
    got = [float(rates(step)) for step in range(6)]
    np.testing.assert_allclose(got, np.array([1, 2, 3, 4, 4, 4]) / 4 * 1e-3, rtol=1e-6)


def test_optimizer_takes_three_steps_as_adam_is_written_down():
    grads = np.array([[0.3, -2.0, 0.0], [0.1, 1e-6, 4.0], [-0.7, -1.0, 1e-3]])
    value, mean, square = np.array([1.0, -1.0, 0.5]), np.zeros(3), np.zeros(3)
    optimizer = make_optimizer(
        optax.piecewise_constant_schedule(0.1, {2: 0.1})  # 0.1, 0.1, 0.01
    )
    params = jnp.asarray(value)
    state = optimizer.init(params)
    for count, (grad, rate) in enumerate(
        zip(grads, (0.1, 0.1, 0.01), strict=True), start=1
    ):
        mean = 0.9 * mean + 0.1 * grad
        square = 0.999 * square + 0.001 * grad**2
        corrected = mean / (1 - 0.9**count)
        value = value - rate * corrected / (np.sqrt(square / (1 - 0.999**count)) + 1e-8)
        updates, state = optimizer.update(jnp.asarray(grad), state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params, value, rtol=1e-5, atol=1e-7)


def test_optimizer_does_not_decay_weights():
    optimizer = make_optimizer(schedule())
    params = {"w": jnp.full(3, 100.0)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert not np.any(updates["w"])
