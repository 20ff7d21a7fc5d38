"""Training steps of a loss with a kink, held against arrays made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.feed.examples import empty_example, stack_examples
from logocap_jax.methods.base import LossOutput
from logocap_jax.parity import steps
from logocap_jax.parity.compare import Comparison
from logocap_jax.structures import Batch
from logocap_jax.weights.trees import flatten

RATE = steps.LEARNING_RATE


def _loss(variables, batch, key):
    """`sum(relu(kink - 1))` and `2 sum(plain)`: one step each of Adam's is the rate."""
    params = variables["params"]
    terms = {
        "heatmap": jnp.sum(jax.nn.relu(params["kink"] - 1)),
        "offset": 2 * jnp.sum(params["plain"]),
    }
    stats = {"mean": variables["batch_stats"]["mean"] + 1}
    return LossOutput(terms["heatmap"] + terms["offset"], terms, {}, stats)


@pytest.fixture(scope="module")
def stepper():
    return steps.Stepper(_loss, {"heatmap": "heatmap", "offset": "offset"})


@pytest.fixture(scope="module")
def batch():
    example = empty_example((32, 32), num_keypoints=1, max_people=1)
    return Batch(**jax.tree.map(jnp.asarray, stack_examples([example])))


def _case(**changes):
    """What a reference writes that takes the upper side of the kink at 1."""
    return {
        "losses": np.array([[0, 6.0], [0, 6 - 6 * RATE]]),
        "grad/kink": np.ones(1),
        "grad/plain": np.full(3, 2.0),
        "bn1/mean": np.ones(2),
        "parameter_names": np.array(["plain"]),
        "after_change_norm": np.full(1, 2 * RATE * np.sqrt(3)),
    } | changes


def _check(monkeypatch, stepper, batch, arrays):
    monkeypatch.setattr(
        steps,
        "_by_torch_key",
        lambda tree: {
            name.split("/", 1)[1]: np.asarray(leaf)
            for name, leaf in flatten(tree).items()
        },
    )
    variables = {
        "params": {"kink": jnp.ones(1), "plain": jnp.ones(3)},
        "batch_stats": {"mean": jnp.zeros(2)},
    }
    compare = Comparison("case")
    steps.check_steps(compare, arrays, stepper, variables, batch)
    return {result.stage: result for result in compare.results}


def test_a_gradient_on_the_other_side_of_a_kink_is_found_at_another_rounding(
    monkeypatch, stepper, batch
):
    names = np.array(["plain", "kink"])
    arrays = _case(parameter_names=names, after_change_norm=np.array([0.0, 0]))
    results = _check(monkeypatch, stepper, batch, arrays)
    assert results["gradients, worst"].passed
    assert results["gradients, worst"].relative_error == 0
    assert "rounding" in results["gradients, median"].note
    assert not results["change in 2 steps"].passed


def test_wrong_gradients_are_wrong_at_every_rounding(monkeypatch, stepper, batch):
    names = np.array(["plain", "kink"])
    arrays = _case(parameter_names=names, **{"grad/plain": np.array([2, 2, 2.1])})
    results = _check(monkeypatch, stepper, batch, arrays)
    worst = results["gradients, worst"]
    assert not worst.passed
    assert worst.note == "plain"
    assert worst.relative_error == pytest.approx(0.1 / np.sqrt(8 + 2.1**2), rel=1e-3)


def test_losses_statistics_and_distances_from_the_start_are_compared(
    monkeypatch, stepper, batch
):
    arrays = _case()
    del arrays["grad/kink"]
    results = _check(monkeypatch, stepper, batch, arrays)
    assert all(result.passed for result in results.values())
    assert {"offset loss, step 2", "batch statistics, step 1", "change in 2 steps"} <= (
        set(results)
    )
    assert not results["gradients, median"].note
    for name, wrong, stage in (
        ("losses", arrays["losses"] * 1.02, "offset loss, step 2"),
        ("bn1/mean", np.full(2, 1.1), "batch statistics, step 1"),
        ("after_change_norm", np.full(1, RATE), "change in 2 steps"),
    ):
        found = _check(monkeypatch, stepper, batch, arrays | {name: wrong})
        assert not found[stage].passed
