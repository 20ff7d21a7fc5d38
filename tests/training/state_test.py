import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import create_state, state_from_variables

OPTIMIZER = make_optimizer(optax.constant_schedule(0.1))


@pytest.fixture
def variables():
    return {
        "params": {"kernel": jnp.arange(3.0)},
        "batch_stats": {"mean": jnp.arange(2.0)},
    }


def test_a_fresh_state_has_taken_and_skipped_no_step(toy_method):
    state = create_state(toy_method, OPTIMIZER, jax.random.key(0))
    assert int(state.step) == int(state.skipped_steps) == int(state.skipped_in_row) == 0


def test_only_the_variables_are_evaluated_where_no_average_is_kept(variables):
    state = state_from_variables(variables, OPTIMIZER)
    assert state.ema is None
    assert state.variables_by_suffix.keys() == {""}
    assert state.variables_by_suffix[""] == variables


@pytest.mark.parametrize("wrap", [lambda make: make, jax.jit], ids=["plain", "jitted"])
def test_the_average_starts_as_a_copy_of_the_variables(variables, wrap):
    make = wrap(lambda variables: state_from_variables(variables, OPTIMIZER, ema=True))
    state = make(variables)
    assert state.variables_by_suffix.keys() == {"", "_ema"}
    assert state.variables_by_suffix["_ema"] is state.ema
    jax.tree.map(np.testing.assert_array_equal, state.ema, state.variables)
    # A step donates all of it, each array once.
    jax.jit(lambda state: state, donate_argnums=0)(state)


@pytest.mark.parametrize("ema", [False, True])
def test_a_state_returns_from_its_checkpoint(variables, tmp_path, ema):
    state = state_from_variables(variables, OPTIMIZER, ema=ema)
    checkpoints = Checkpoints(tmp_path, settings={})
    checkpoints.save_last(state)
    restored = checkpoints.restore_last(state)
    checkpoints.close()
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
