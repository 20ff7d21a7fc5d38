import importlib
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from logocap_jax.experiment.build import make_method
from logocap_jax.sharding import put_batch, replicated
from logocap_jax.structures import Batch
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import create_state
from logocap_jax.training.step import make_train_step

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"


@pytest.fixture(scope="module")
def tiny_method(quick_compilation):
    config = runpy.run_path(str(TINY_CONFIG))["get_config"]()
    return make_method(config)


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
    step = make_train_step(method, optimizer, mesh)
    state, metrics = step(state, Batch(**put_batch(arrays, mesh)))
    return jax.device_get((state, metrics))


def test_one_and_eight_devices_take_the_same_step(
    tiny_method, tiny_variables, make_arrays
):
    arrays = make_arrays()
    # Unequal shards: averages of averages would differ from those of the batch.
    arrays["person"][:4, 1:] = False
    alone, alone_metrics = stepped(tiny_method, tiny_variables, arrays, devices=1)
    shared, shared_metrics = stepped(tiny_method, tiny_variables, arrays, devices=8)
    assert alone_metrics["matched_slots"] > 0
    assert alone_metrics["kam"] > 0
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
    step = make_train_step(toy_method, optimizer, one_device)
    batch = Batch(**put_batch(arrays, one_device))
    for count in (1, 2, 3):
        state, metrics = step(state, batch)
        assert int(state.step) == count
        assert float(state.batch_stats["n"]) == count
        # Adam moves by the rate while the gradient keeps its size.
        assert float(state.params["w"]) == pytest.approx(0.1 * count, rel=0.02)
    assert metrics.keys() == {"total", "error"}
    assert float(metrics["total"]) == pytest.approx((5 - 0.2) ** 2, rel=0.01)


def test_the_state_handed_in_is_donated(toy_method, make_arrays, one_device):
    optimizer = make_optimizer(optax.constant_schedule(0.1))
    state = create_state(toy_method, optimizer, jax.random.key(0))
    state = jax.device_put(state, replicated(one_device))
    step = make_train_step(toy_method, optimizer, one_device)
    after, _ = step(state, Batch(**put_batch(make_arrays(2), one_device)))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize("name", ["logocap_w32_coco", "logocap_w48_coco"])
def test_a_full_size_step_keeps_the_shapes_of_the_state(name, make_arrays, one_device):
    config = importlib.import_module(f"configs.{name}").get_config()
    method = make_method(config)
    optimizer = make_optimizer(optax.constant_schedule(config.learning_rate))
    state = jax.eval_shape(
        lambda key: create_state(method, optimizer, key), jax.random.key(0)
    )
    arrays = make_arrays(2, side=config.data.input_size, people=config.data.max_people)
    step = make_train_step(method, optimizer, one_device)
    after, metrics = jax.eval_shape(step, state, Batch(**arrays))
    assert jax.tree.map(_signature, after) == jax.tree.map(_signature, state)
    assert {"total", "heatmap", "offset", "kam", "refined"} <= metrics.keys()
    assert {metric.shape for metric in metrics.values()} == {()}


def _signature(array):
    return array.shape, str(array.dtype)
