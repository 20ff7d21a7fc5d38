"""The state of training, carried from step to step."""

import dataclasses
import typing
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from logocap_jax.methods.base import Method, Variables


def _zero() -> Int[Array, ""]:
    return jnp.zeros((), jnp.int32)


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Arrays only; method and optimizer live in the step function."""

    #: Number of steps taken, skipped ones included: the number of batches seen.
    step: Int[Array, ""]
    params: Any  #: network parameters, float32
    batch_stats: Any  #: running statistics, float32
    opt_state: Any  #: the optimizer's state
    #: Steps that changed nothing, for they were not finite.
    skipped_steps: Int[Array, ""] = dataclasses.field(default_factory=_zero)
    #: Skipped steps at the end.
    skipped_in_row: Int[Array, ""] = dataclasses.field(default_factory=_zero)
    #: Moving average of `variables`, float32, if one is kept.
    ema: Variables | None = None

    @property
    def variables(self) -> Variables:
        """Variables for the method's functions."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def variables_by_suffix(self) -> dict[str, Variables]:
        """All variables to evaluate, by suffix of the names of their result sets."""
        raw = {"": self.variables}
        return raw if self.ema is None else {**raw, "_ema": self.ema}


def create_state(
    method: Method,
    optimizer: optax.GradientTransformation,
    key: Array,
    *,
    ema: bool = False,
) -> TrainState:
    """Fresh state from a PRNG key; jit it to place the result on a mesh."""
    return state_from_variables(method.init(key), optimizer, ema=ema)


def state_from_variables(
    variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """State at step 0 with given variables; `ema` keeps their moving average, too."""
    params = variables["params"]
    return TrainState(
        step=_zero(),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        # Copies: the state is donated, and no array can be donated twice.
        ema=jax.tree.map(jnp.copy, dict(variables)) if ema else None,
    )
