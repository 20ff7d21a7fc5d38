"""The jitted training step."""

from collections.abc import Callable

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from logocap_jax.methods.base import Method
from logocap_jax.sharding import batch_sharding, replicated
from logocap_jax.structures import Batch
from logocap_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    method: Method, optimizer: optax.GradientTransformation, mesh: Mesh
) -> TrainStep:
    """Build the step: gradients over the global batch, then one optimizer update.

    The batch is sharded over the mesh and the state replicated, so that all sums
    over the batch, batch statistics among them, are those of the global batch. The
    state handed in is donated.

    Args:
      method: the method.
      optimizer: the optimizer.
      mesh: devices.

    Returns:
      A jitted function; its metrics stay on the device.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        def loss_fn(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            output = method.loss(variables, batch)
            return output.loss, output

        grads, output = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=output.batch_stats,
            opt_state=opt_state,
        )
        return new_state, {"total": output.loss, **output.metrics}

    whole = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, batch_sharding(mesh)),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )
