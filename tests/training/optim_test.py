import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from logocap_jax.experiment.run import resolve
from logocap_jax.training.optim import (
    make_optimizer,
    multi_step_schedule,
    scale_learning_rate,
)

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"
RATE = 0.1
CONSTANT = optax.constant_schedule(RATE)


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


@pytest.mark.parametrize(
    ("scaling", "batch_size", "rate"),
    [
        ("none", 4096, 1e-3),
        ("linear", 48, 1e-3),
        ("linear", 192, 4e-3),
        ("linear", 12, 2.5e-4),
        ("sqrt", 48, 1e-3),
        ("sqrt", 192, 2e-3),
        ("sqrt", 12, 5e-4),
    ],
)
def test_rate_scales_with_the_batch(scaling, batch_size, rate):
    got = scale_learning_rate(1e-3, scaling, batch_size=batch_size, base_batch=48)
    assert got == pytest.approx(rate)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("cubic", 48), r"got lr_scaling='cubic', expected one of \['none', 'linear',"),
        (("none", 0), "got lr_base_batch=0, expected 1 or more"),
    ],
)
def test_a_scaling_without_meaning_is_refused(settings, message):
    scaling, base = settings
    with pytest.raises(ValueError, match=message):
        scale_learning_rate(1e-3, scaling, batch_size=48, base_batch=base)


def adam_directions(grads, *, eps=1e-8):
    """What Adam multiplies with the rate, step by step, written down in NumPy."""
    mean, square = np.zeros_like(grads[0]), np.zeros_like(grads[0])
    directions = []
    for count, grad in enumerate(grads, start=1):
        mean = 0.9 * mean + 0.1 * grad
        square = 0.999 * square + 0.001 * grad**2
        corrected = np.sqrt(square / (1 - 0.999**count))
        directions.append(mean / (1 - 0.9**count) / (corrected + eps))
    return directions


def trajectory(optimizer, params, grads):
    """The parameters after each step."""
    params = jax.tree.map(jnp.asarray, params)
    state = optimizer.init(params)
    for grad in grads:
        updates, state = optimizer.update(
            jax.tree.map(jnp.asarray, grad), state, params
        )
        params = optax.apply_updates(params, updates)
        yield jax.device_get(params)


GRADS = np.array([[0.3, -2.0, 0.0], [0.1, 1e-6, 4.0], [-0.7, -1.0, 1e-3]], np.float32)
START = np.array([1.0, -1.0, 0.5], np.float32)


def test_optimizer_takes_three_steps_as_adam_is_written_down():
    optimizer = make_optimizer(
        optax.piecewise_constant_schedule(0.1, {2: 0.1})  # 0.1, 0.1, 0.01
    )
    value = START.astype(np.float64)
    for params, direction, rate in zip(
        trajectory(optimizer, START, GRADS),
        adam_directions(GRADS.astype(np.float64)),
        (0.1, 0.1, 0.01),
        strict=True,
    ):
        value = value - rate * direction
        np.testing.assert_allclose(params, value, rtol=1e-5, atol=1e-7)


def test_optimizer_does_not_decay_weights():
    params = {"kernel": np.full(3, 100.0, np.float32)}
    zeros = jax.tree.map(np.zeros_like, params)
    (after,) = trajectory(make_optimizer(schedule()), params, [zeros])
    assert np.array_equal(after["kernel"], params["kernel"])


def test_adamw_is_adam_and_decays_kernels_alone():
    params = {"conv": {"kernel": START, "bias": START}, "norm": {"scale": START}}
    grads = [jax.tree.map(lambda leaf, g=grad: g, params) for grad in GRADS]
    optimizer = make_optimizer(CONSTANT, "adamw", weight_decay=0.5)
    kernel, other = START.astype(np.float64), START.astype(np.float64)
    for after, direction in zip(
        trajectory(optimizer, params, grads),
        adam_directions(GRADS.astype(np.float64)),
        strict=True,
    ):
        kernel = kernel - RATE * (direction + 0.5 * kernel)
        other = other - RATE * direction
        np.testing.assert_allclose(after["conv"]["kernel"], kernel, rtol=1e-5)
        np.testing.assert_allclose(after["conv"]["bias"], other, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(after["norm"]["scale"], other, rtol=1e-5, atol=1e-7)


def test_lamb_changes_each_kernel_in_proportion_to_its_norm():
    params = {
        "small": {"kernel": 1e-3 * START, "bias": 1e-3 * START},
        "large": {"kernel": 1e3 * START},
    }
    grads = [jax.tree.map(lambda leaf, g=grad: g, params) for grad in GRADS]
    optimizer = make_optimizer(CONSTANT, "lamb", weight_decay=0.5)
    small, large = 1e-3 * START.astype(np.float64), 1e3 * START.astype(np.float64)
    bias = small
    for after, direction in zip(
        trajectory(optimizer, params, grads),
        adam_directions(GRADS.astype(np.float64), eps=1e-6),
        strict=True,
    ):
        small, large = (
            kernel - RATE * np.linalg.norm(kernel) / np.linalg.norm(step) * step
            for kernel, step in (
                (kernel, direction + 0.5 * kernel) for kernel in (small, large)
            )
        )
        bias = bias - RATE * direction
        np.testing.assert_allclose(after["small"]["kernel"], small, rtol=1e-4)
        np.testing.assert_allclose(after["large"]["kernel"], large, rtol=1e-4)
        np.testing.assert_allclose(after["small"]["bias"], bias, rtol=1e-4, atol=1e-7)


def test_lamb_moves_kernels_that_are_zero():
    params = {"kernel": np.zeros(3, np.float32)}
    (after,) = trajectory(
        make_optimizer(CONSTANT, "lamb"), params, [{"kernel": GRADS[2]}]
    )
    np.testing.assert_allclose(after["kernel"], -RATE * np.sign(GRADS[2]), rtol=2e-3)


def test_only_convolutions_and_dense_layers_of_a_model_decay():
    config = runpy.run_path(str(TINY_CONFIG))["get_config"]()
    shapes = jax.eval_shape(resolve(config).method.init, jax.random.key(0))
    # Only names count; arrays of one shape compile once.
    params = jax.tree.map(lambda leaf: np.ones(1, np.float32), shapes["params"])
    zeros = jax.tree.map(np.zeros_like, params)
    (after,) = trajectory(
        make_optimizer(CONSTANT, "adamw", weight_decay=0.5), params, [zeros]
    )
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for path, leaf in jax.tree.leaves_with_path(after):
        names[bool(np.all(leaf == 1))].add(path[-1].key)
    assert names == {True: {"bias", "scale"}, False: {"kernel"}}


def test_clipping_shortens_long_gradients_and_leaves_short_ones():
    params = {"a": {"kernel": START[:1]}, "b": {"kernel": START[1:2]}}

    def grads(*pairs):
        return [
            {"a": {"kernel": np.float32([a])}, "b": {"kernel": np.float32([b])}}
            for a, b in pairs
        ]

    clipped = trajectory(
        make_optimizer(CONSTANT, clip_norm=1.0),
        params,
        grads((3.0, -4.0), (0.3, 0.4), (-30.0, 40.0)),
    )
    by_hand = trajectory(
        make_optimizer(CONSTANT), params, grads((0.6, -0.8), (0.3, 0.4), (-0.6, 0.8))
    )
    for one, other in zip(clipped, by_hand, strict=True):
        for name in ("a", "b"):
            np.testing.assert_allclose(
                one[name]["kernel"], other[name]["kernel"], rtol=1e-6
            )


@pytest.mark.parametrize("name", ["adam", "adamw", "lamb"])
def test_a_state_fits_an_optimizer_with_and_without_clipping(name):
    params = {"kernel": jnp.asarray(START)}
    plain, clipping = (
        make_optimizer(CONSTANT, name, clip_norm=norm).init(params)
        for norm in (0.0, 1.0)
    )
    paths = [
        [(jax.tree_util.keystr(path), leaf.shape) for path, leaf in leaves]
        for leaves in map(jax.tree.leaves_with_path, (plain, clipping))
    ]
    assert paths[0] == paths[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "sgd"}, r"got optimizer='sgd', expected one of \['adam', 'adamw',"),
        ({"weight_decay": 0.1}, "got weight_decay=0.1, expected 0 for 'adam'"),
        ({"name": "lamb", "weight_decay": -1.0}, "got weight_decay=-1.0, expected 0"),
        ({"clip_norm": -1.0}, "got clip_norm=-1.0, expected 0 or more"),
        ({"clip_norm": float("nan")}, "got clip_norm=nan, expected 0 or more"),
    ],
)
def test_settings_of_an_optimizer_without_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(CONSTANT, **settings)
