import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from logocap_jax.methods.base import LossOutput
from logocap_jax.sharding import put_batch
from logocap_jax.structures import Batch
from logocap_jax.training.step import accumulate_gradients, compute_gradients

KEY = jax.random.key(0)
START = {"params": {"w": jnp.zeros(())}, "batch_stats": {"seen": jnp.zeros(())}}


@pytest.fixture
def averaging_method(toy_method):
    """Learns the mean area; `batch_stats` follow the areas that it has seen."""

    def loss(variables, batch, key):
        error = jnp.mean(jnp.square(variables["params"]["w"] - batch.area))
        area = jnp.mean(batch.area)
        seen = 0.5 * variables["batch_stats"]["seen"] + 0.5 * area
        people = jnp.sum(batch.person)
        return LossOutput(error, {"area": area}, {"people": people}, {"seen": seen})

    return toy_method._replace(loss=loss)


@pytest.fixture
def eight(make_arrays):
    """Arrays of eight images with one person each, of areas 1 to 8."""
    return make_arrays(8, people=1) | {"area": np.arange(1, 9, dtype="f4")[:, None]}


def test_the_gradient_of_a_batch_is_by_hand(averaging_method, eight):
    grads, output = compute_gradients(averaging_method.loss, START, Batch(**eight), KEY)
    assert float(grads["w"]) == -9  # -2 * 4.5
    assert float(output.loss) == 25.5
    assert float(output.batch_stats["seen"]) == 2.25


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_accumulated_gradients_are_those_of_the_batch(averaging_method, eight, parts):
    grads, output = accumulate_gradients(
        averaging_method.loss, START, Batch(**eight), KEY, parts=parts
    )
    assert float(grads["w"]) == -9
    assert float(output.loss) == 25.5
    assert float(output.terms["area"]) == 4.5
    assert int(output.counts["people"]) == int(eight["person"].sum()) == 8


def test_each_part_of_a_batch_moves_the_running_statistics(averaging_method, eight):
    _, output = accumulate_gradients(
        averaging_method.loss, START, Batch(**eight), KEY, parts=4
    )
    seen = 0.0
    for part in ([1, 5], [2, 6], [3, 7], [4, 8]):  # every fourth image
        seen = 0.5 * seen + 0.5 * np.mean(part)
    assert float(output.batch_stats["seen"]) == seen


def test_a_part_that_is_not_finite_shows(averaging_method, eight):
    eight["area"][2] = np.inf
    grads, output = accumulate_gradients(
        averaging_method.loss, START, Batch(**eight), KEY, parts=4
    )
    assert not np.isfinite(grads["w"])
    assert not np.isfinite(output.loss)


def test_parts_of_a_batch_stay_on_their_devices(averaging_method, make_arrays):
    def loss(variables, batch, key):
        error = variables["params"]["w"] - batch.image.astype(jnp.float32)
        return LossOutput(jnp.mean(jnp.square(error)), {}, {}, variables["batch_stats"])

    method = averaging_method._replace(loss=loss)
    mesh = Mesh(np.asarray(jax.devices()), ("data",))
    batch = Batch(**put_batch(make_arrays(16), mesh))
    compute = jax.jit(
        lambda batch: accumulate_gradients(method.loss, START, batch, KEY, parts=2)
    )
    program = compute.lower(batch).compile().as_text()
    assert "all-reduce" in program
    for moving in ("all-gather", "all-to-all", "collective-permute"):
        assert moving not in program


def test_a_batch_that_does_not_split_is_refused(averaging_method, eight):
    with pytest.raises(ValueError, match="a batch of 8, expected a multiple of accum"):
        accumulate_gradients(averaging_method.loss, START, Batch(**eight), KEY, parts=3)
