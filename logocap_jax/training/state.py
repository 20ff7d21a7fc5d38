"""What training carries from step to step."""

import dataclasses
import typing
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from logocap_jax.methods.base import Method, Variables


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Arrays only; method and optimizer live in the step function.

    Attributes:
      step: number of steps taken.
      params: network parameters, float32.
      batch_stats: running statistics, float32.
      opt_state: the optimizer's state.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> Variables:
        """What the method's functions take."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_state(
    method: Method, optimizer: optax.GradientTransformation, key: Array
) -> TrainState:
    """Fresh state from a PRNG key; jit it to place the result on a mesh."""
    return state_from_variables(method.init(key), optimizer)


def state_from_variables(
    variables: Variables, optimizer: optax.GradientTransformation
) -> TrainState:
    """State at step 0 with given parameters and statistics."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(params),
    )
