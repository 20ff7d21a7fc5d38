import dataclasses
import importlib
import math
import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from logocap_jax.experiment.run import resolve
from logocap_jax.sharding import put_batch, replicated
from logocap_jax.structures import Batch
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import create_state, state_from_variables
from logocap_jax.training.step import make_train_step
from tests.faults.injector import poison

NAMES = ("total", "heatmap", "offset", "kam", "refined")
TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"


@pytest.fixture
def config():
    return runpy.run_path(str(TINY_CONFIG))["get_config"]()


@pytest.fixture(scope="module")
def tiny_method():
    config = runpy.run_path(str(TINY_CONFIG))["get_config"]()
    return resolve(config).method


@pytest.fixture(scope="module")
def tiny_variables(tiny_method):
    return jax.device_get(jax.jit(tiny_method.init)(jax.random.key(0)))


def stepped(method, variables, arrays, devices):
    """The state and metrics after one step of plain gradient descent.

    Unlike Adam's, its step is linear in the gradient, so that equal parameters tell
    of equal gradients.
    """
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",))
    optimizer = optax.sgd(0.1)
    state = create_state(
        method._replace(init=lambda key: jax.tree.map(jnp.asarray, variables)),
        optimizer,
        jax.random.key(0),
    )
    state = jax.device_put(state, replicated(mesh))
    step = make_train_step(method.loss, optimizer, mesh)
    state, metrics = step(state, Batch(**put_batch(arrays, mesh)))
    return jax.device_get((state, metrics))


@pytest.mark.row("T2")
def test_one_and_eight_devices_take_the_same_step(
    tiny_method, tiny_variables, make_arrays
):
    arrays = make_arrays()
    # Unequal shards: averages of averages would differ from those of the batch.
    arrays["person"][:4, 1:] = False
    alone, alone_metrics = stepped(tiny_method, tiny_variables, arrays, devices=1)
    shared, shared_metrics = stepped(tiny_method, tiny_variables, arrays, devices=8)
    assert alone_metrics["count/matched_slots"] > 0
    assert alone_metrics["loss/kam"] > 0
    assert alone_metrics.keys() == shared_metrics.keys()
    for name, value in alone_metrics.items():
        np.testing.assert_allclose(shared_metrics[name], value, rtol=1e-5)
    for name in ("params", "batch_stats"):
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(
                other, one, rtol=1e-4, atol=1e-6
            ),
            getattr(alone, name),
            getattr(shared, name),
        )
    before = jax.tree.leaves(tiny_variables["params"])
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, jax.tree.leaves(alone.params), strict=True)
    ]
    assert np.mean(moved) > 0.9


def test_a_step_counts_moves_parameters_and_carries_statistics(
    toy_method, make_arrays, one_device
):
    arrays = make_arrays(2)
    arrays["area"][:] = 5
    optimizer = make_optimizer(optax.constant_schedule(0.1))
    state = create_state(toy_method, optimizer, jax.random.key(0))
    step = make_train_step(toy_method.loss, optimizer, one_device)
    batch = Batch(**put_batch(arrays, one_device))
    for count in (1, 2, 3):
        state, metrics = step(state, batch)
        assert int(state.step) == count
        assert float(state.batch_stats["n"]) == count
        # Adam moves by the rate while the gradient keeps its size.
        assert float(state.params["w"]) == pytest.approx(0.1 * count, rel=0.02)
    assert metrics.keys() == {
        "loss/total",
        "loss/error",
        "skipped_steps",
        "skipped_in_row",
    }
    assert float(metrics["loss/total"]) == pytest.approx((5 - 0.2) ** 2, rel=0.01)


def test_the_state_handed_in_is_donated(toy_method, make_arrays, one_device):
    optimizer = make_optimizer(optax.constant_schedule(0.1))
    state = create_state(toy_method, optimizer, jax.random.key(0))
    state = jax.device_put(state, replicated(one_device))
    step = make_train_step(toy_method.loss, optimizer, one_device)
    after, _ = step(state, Batch(**put_batch(make_arrays(2), one_device)))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize(
    "name",
    [
        "logocap_w32_coco",
        pytest.param("logocap_w48_coco", marks=pytest.mark.slow),
    ],
)
def test_a_full_size_step_keeps_the_shapes_of_the_state(name, make_arrays, one_device):
    config = importlib.import_module(f"configs.{name}").get_config()
    method = resolve(config).method
    optimizer = make_optimizer(optax.constant_schedule(config.learning_rate))
    state = jax.eval_shape(
        lambda key: create_state(method, optimizer, key), jax.random.key(0)
    )
    arrays = make_arrays(2, side=config.data.input_size, people=config.data.max_people)
    step = make_train_step(method.loss, optimizer, one_device)
    after, metrics = jax.eval_shape(step, state, Batch(**arrays))
    assert jax.tree.map(_signature, after) == jax.tree.map(_signature, state)
    assert {f"loss/{name}" for name in NAMES} <= metrics.keys()
    assert {metric.shape for metric in metrics.values()} == {()}


def _signature(array):
    return array.shape, str(array.dtype)


def take_steps(method, optimizer, mesh, batches, *, ema=False, **options):
    """States and metrics after each step."""
    state = create_state(method, optimizer, jax.random.key(0), ema=ema)
    state = jax.device_put(state, replicated(mesh))
    step = make_train_step(method.loss, optimizer, mesh, **options)
    for arrays in batches:
        state, metrics = step(state, Batch(**put_batch(arrays, mesh)))
        yield jax.device_get((state, metrics))


def with_areas(arrays, areas):
    """A batch with one person in each image."""
    return arrays | {"area": np.asarray(areas, np.float32)[:, None]}


def test_the_optimizer_takes_one_step_per_batch_however_many_parts(
    toy_method, make_arrays, one_device
):
    arrays = make_arrays(8)
    optimizer = make_optimizer(optax.piecewise_constant_schedule(0.1, {1: 0.1}))
    (_, (state, _)) = take_steps(
        toy_method, optimizer, one_device, [arrays] * 2, accumulate=4
    )
    assert float(state.params["w"]) == pytest.approx(0.1 + 0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("option", "value"),
    [("accumulate", 0), ("ema_decay", 1.0), ("ema_decay", -0.1)],
)
def test_options_of_a_step_without_meaning_are_refused(
    toy_method, one_device, option, value
):
    with pytest.raises(ValueError, match=f"got {option}={value}, expected"):
        make_train_step(toy_method.loss, optax.sgd(0.1), one_device, **{option: value})


def test_the_average_follows_the_variables(toy_method, make_arrays, one_device):
    arrays = make_arrays(2, people=1)
    batches = [with_areas(arrays, areas) for areas in ([1, 2], [3, 4], [5, 6])]
    value, count = 0.0, 0.0
    for step, (state, _) in enumerate(
        take_steps(
            *(toy_method, optax.sgd(0.1), one_device, batches), ema=True, ema_decay=0.15
        )
    ):
        keep = min(0.15, (1 + step) / (10 + step))  # 0.1, 0.15, 0.15
        value = keep * value + (1 - keep) * float(state.params["w"])
        count = keep * count + (1 - keep) * float(state.batch_stats["n"])
        assert float(state.ema["params"]["w"]) == pytest.approx(value, rel=1e-5)
        assert float(state.ema["batch_stats"]["n"]) == pytest.approx(count, rel=1e-5)


def test_the_average_of_a_long_run_keeps_what_the_decay_says(
    toy_method, make_arrays, one_device
):
    optimizer = optax.sgd(0.0)
    state = create_state(toy_method, optimizer, jax.random.key(0), ema=True)
    state = dataclasses.replace(
        state, step=jnp.asarray(10**6), params={"w": jnp.asarray(1.0)}
    )
    step = make_train_step(toy_method.loss, optimizer, one_device, ema_decay=0.999)
    after, _ = step(state, Batch(**put_batch(make_arrays(2), one_device)))
    assert float(after.ema["params"]["w"]) == pytest.approx(0.001, rel=1e-3)


@pytest.fixture
def fragile_method(toy_method):
    """The toy method, whose area says what is not finite."""

    def loss(variables, batch, key):
        error = toy_method.loss(variables, batch, key)
        area, w = jnp.max(batch.area), variables["params"]["w"]
        # Zero, and so is its gradient unless the area is 1: then that is infinite.
        edge = jnp.where(area == 1, jnp.sqrt(jnp.where(area == 1, w - w, 1)), 0)
        return error._replace(
            loss=jnp.where(area == 0, math.inf, error.loss + edge),
            batch_stats={"n": jnp.where(area == 2, math.nan, error.batch_stats["n"])},
        )

    return toy_method._replace(loss=loss)


BROKEN = {"loss": 0, "gradient": 1, "statistics": 2, "area": math.nan}


@pytest.mark.row("R17")
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_step_that_is_not_finite_changes_nothing_but_counts(
    fragile_method, make_arrays, one_device, broken, accumulate
):
    arrays = make_arrays(4, people=1)
    good, bad = (poison(arrays, "area", area) for area in (9, broken))
    optimizer = make_optimizer(optax.constant_schedule(0.1), clip_norm=1.0)
    states, counts = [], []
    for state, metrics in take_steps(
        fragile_method,
        optimizer,
        one_device,
        [good, bad, bad, good, bad],
        ema=True,
        ema_decay=0.5,
        accumulate=accumulate,
    ):
        states.append(state)
        counts.append((int(metrics["skipped_steps"]), int(metrics["skipped_in_row"])))
        assert counts[-1] == (int(state.skipped_steps), int(state.skipped_in_row))
    assert counts == [(0, 0), (1, 1), (2, 2), (2, 0), (3, 1)]
    assert [int(state.step) for state in states] == [1, 2, 3, 4, 5]
    assert np.isfinite(jax.tree.leaves(states[-1])).all()
    for one, other in ((0, 1), (0, 2), (3, 4)):
        jax.tree.map(
            np.testing.assert_array_equal, *map(lasting, [states[one], states[other]])
        )
    for one, other in zip(
        jax.tree.leaves(lasting(states[2])),
        jax.tree.leaves(lasting(states[3])),
        strict=True,
    ):
        assert not np.array_equal(one, other)


def lasting(state):
    """What a skipped step leaves as it was."""
    return state.params, state.batch_stats, state.opt_state, state.ema


@pytest.mark.row("R17")
def test_a_run_with_a_skipped_batch_ends_as_one_without_it(
    fragile_method, make_arrays, one_device
):
    arrays = make_arrays(2, people=1)
    first, bad, last = (poison(arrays, "area", area) for area in (9, 0, 5))
    optimizer = make_optimizer(optax.constant_schedule(0.1))
    with_it, without = (
        list(take_steps(fragile_method, optimizer, one_device, batches))[-1][0]
        for batches in ([first, bad, last], [first, last])
    )
    jax.tree.map(np.testing.assert_array_equal, lasting(with_it), lasting(without))


def test_bfloat16_computes_and_float32_stays(
    config, tiny_variables, make_arrays, one_device
):
    config.method.dtype = "bfloat16"
    method = resolve(config).method
    optimizer = make_optimizer(optax.constant_schedule(1e-3))
    variables = jax.tree.map(jnp.asarray, tiny_variables)
    state = state_from_variables(variables, optimizer, ema=True)
    before = jax.tree.map(_signature, state)
    step = make_train_step(method.loss, optimizer, one_device, ema_decay=0.9)
    batch = Batch(**put_batch(make_arrays(8), one_device))
    program = step.lower(state, batch)
    assert re.search(r"stablehlo\.convolution.*xbf16>", program.as_text())
    state, metrics = program.compile()(state, batch)
    assert jax.tree.map(_signature, state) == before
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(state)} == {"float32", "int32"}
    assert int(metrics["skipped_steps"]) == 0
    for name in NAMES:
        assert np.isfinite(metrics[f"loss/{name}"])
        assert metrics[f"loss/{name}"].dtype == np.float32
    kept = jax.tree.map(np.array_equal, tiny_variables, jax.device_get(state.variables))
    assert np.mean(jax.tree.leaves(kept)) < 0.1
    for poses in jax.eval_shape(method.evaluate, state.variables, batch).values():
        assert poses.keypoints.dtype == np.float32
        assert poses.scores.dtype == np.float32
