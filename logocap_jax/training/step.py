"""The jitted training step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Int, Num

from logocap_jax.methods.base import LossFn, LossOutput, Part, Variables
from logocap_jax.sharding import batch_sharding, replicated
from logocap_jax.training.optim import drop_frozen, keep_frozen_statistics
from logocap_jax.training.state import TrainState

Metrics = dict[str, Num[Array, ""]]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
"""It takes a `Batch`, or what else its loss takes."""


def make_train_step(
    loss: LossFn,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    parts: Sequence[Part] = (),
    seed: int = 0,
) -> TrainStep:
    """Build the step: gradients over the global batch, then one optimizer update.

    The batch is sharded over the mesh and the state replicated, so that all sums
    over the batch, batch statistics among them, are those of the global batch. The
    state handed in is donated.

    A step whose loss, gradient or batch statistics are not finite changes nothing but
    `step` and the counts of skipped steps. The optimizer does not count it: its
    schedule stays where it was.

    Args:
      loss: the loss function, of a method or of one of its stages of training.
      optimizer: the optimizer.
      mesh: devices.
      accumulate: parts of a batch that go through the network one after the other; see
        `accumulate_gradients`.
      ema_decay: share that the moving average of the variables keeps at each step,
        where the state has one; less in the first steps.
      parts: of the model; frozen ones get no gradient, frozen norms keep their
        running statistics.
      seed: of the keys that the loss gets, one per step.

    Returns:
      A jitted function; its metrics stay on the device: `loss/total`, the loss's terms
      and counts, and `skipped_steps` and `skipped_in_row` of the new state. It raises a
      ValueError if `accumulate` does not divide the batch.

    Raises:
      ValueError: if a setting is out of range.
    """
    if accumulate < 1:
        raise ValueError(f"got accumulate={accumulate}, expected 1 or more")
    if not 0 <= ema_decay < 1:
        raise ValueError(f"got ema_decay={ema_decay}, expected 0 or more, below 1")

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        if accumulate == 1:
            grads, output = compute_gradients(loss, state.variables, batch, key)
        else:
            grads, output = accumulate_gradients(
                loss, state.variables, batch, key, parts=accumulate
            )
        grads = drop_frozen(grads, parts)
        batch_stats = keep_frozen_statistics(
            output.batch_stats, state.batch_stats, parts
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        advanced = dataclasses.replace(
            state,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        if state.ema is not None:
            ema = _average(state.ema, advanced.variables, ema_decay, state.step)
            advanced = dataclasses.replace(advanced, ema=ema)
        # A square that overflows makes the norm infinite, and would Adam's moments.
        finite = jnp.isfinite(optax.tree.norm((output.loss, grads, batch_stats)))
        new_state = _advance_if(finite, advanced, state)
        skips = {
            "skipped_steps": new_state.skipped_steps,
            "skipped_in_row": new_state.skipped_in_row,
        }
        terms = {f"loss/{name}": value for name, value in output.terms.items()}
        counts = {f"count/{name}": value for name, value in output.counts.items()}
        return new_state, {"loss/total": output.loss, **terms, **counts, **skips}

    whole = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, batch_sharding(mesh)),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )


def _average(
    ema: Variables, variables: Variables, decay: float, step: Int[Array, ""]
) -> Variables:
    """Move the average; early on faster, to forget the variables at the start.

    The rule is that of TensorFlow's `ExponentialMovingAverage`.
    """
    keep = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(variables, ema, 1 - keep)


def _advance_if(finite: Array, advanced: TrainState, state: TrainState) -> TrainState:
    """`advanced` or, where it is not finite, `state`; with `step` and counts."""
    chosen = jax.tree.map(lambda new, old: jnp.where(finite, new, old), advanced, state)
    return dataclasses.replace(
        chosen,
        step=state.step + 1,
        skipped_steps=state.skipped_steps + ~finite,
        skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
    )


def compute_gradients(
    loss: LossFn, variables: Variables, batch: Any, key: Array
) -> tuple[Any, LossOutput]:
    """The gradient of the loss by `variables["params"]`, and the loss itself."""

    def loss_fn(params: Any) -> tuple[Array, LossOutput]:
        output = loss({**variables, "params": params}, batch, key)
        return output.loss, output

    return jax.grad(loss_fn, has_aux=True)(variables["params"])


def accumulate_gradients(
    loss: LossFn, variables: Variables, batch: Any, key: Array, *, parts: int
) -> tuple[Any, LossOutput]:
    """As `compute_gradients`, with the memory of a part of the batch.

    The parts go through the network one after the other. Each is normalised with its
    own statistics and moves the running ones. A loss that is a mean over the images
    comes out as that of the whole batch; one that is a mean over matched people, as
    LOGO-CAP's, weighs each part's people alike. Every `parts`-th image makes a part, so
    that each device holds its share of every part and no image moves. Each part has a
    key of its own.

    Returns:
      Means over the parts of gradient, loss and its terms; sums of counts; statistics
      after the last.

    Raises:
      ValueError: if `parts` does not divide the batch.
    """
    params = variables["params"]

    def add(
        carry: tuple[Any, Any], part: tuple[Any, Array]
    ) -> tuple[tuple[Any, Any], Any]:
        total, batch_stats = carry
        grads, output = compute_gradients(
            loss, {"params": params, "batch_stats": batch_stats}, *part
        )
        total = jax.tree.map(jnp.add, total, grads)
        scalars = (output.loss, output.terms), output.counts
        return (total, output.batch_stats), scalars

    start = jax.tree.map(jnp.zeros_like, params), variables["batch_stats"]
    inputs = _split(batch, parts), jax.random.split(key, parts)
    (total, batch_stats), (averaged, counted) = jax.lax.scan(add, start, inputs)
    grads = jax.tree.map(lambda grad: grad / parts, total)
    mean, terms = jax.tree.map(lambda values: jnp.mean(values, axis=0), averaged)
    counts = jax.tree.map(lambda values: jnp.sum(values, axis=0), counted)
    return grads, LossOutput(mean, terms, counts, batch_stats)


def _split(batch: Any, parts: int) -> Any:
    """Batch of B -> arrays [parts, B / parts, ...], with every `parts`-th example."""
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % parts:
        raise ValueError(
            f"got a batch of {size}, expected a multiple of accumulate={parts}"
        )
    return jax.tree.map(
        lambda x: x.reshape(size // parts, parts, *x.shape[1:]).swapaxes(0, 1), batch
    )
