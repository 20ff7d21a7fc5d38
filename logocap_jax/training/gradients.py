"""Gradients of a batch, at once or in parts."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import LossFn, LossOutput, Variables
from logocap_jax.structures import Batch


def compute_gradients(
    loss: LossFn, variables: Variables, batch: Batch, key: Array
) -> tuple[Any, LossOutput]:
    """The gradient of the loss by `variables["params"]`, and the loss itself."""

    def loss_fn(params: Any) -> tuple[Array, LossOutput]:
        output = loss({**variables, "params": params}, batch, key)
        return output.loss, output

    return jax.grad(loss_fn, has_aux=True)(variables["params"])


def accumulate_gradients(
    loss: LossFn, variables: Variables, batch: Batch, key: Array, *, parts: int
) -> tuple[Any, LossOutput]:
    """As `compute_gradients`, with the memory of a part of the batch.

    The parts go through the network one after the other. Each is normalised with its
    own statistics and moves the running ones. A loss that is a mean over the images
    comes out as that of the whole batch; one that is a mean over matched people, as
    LOGO-CAP's, weighs each part's people alike.

    Args:
      loss: the loss function.
      variables: parameters and batch statistics.
      batch: every `parts`-th image makes a part, so that each device holds its share
        of every part and no image moves.
      key: of the step; each part gets its own.
      parts: how many.

    Returns:
      Means over the parts of gradient, loss and its terms; sums of counts; statistics
      after the last.

    Raises:
      ValueError: if `parts` does not divide the batch.
    """
    params = variables["params"]

    def add(
        carry: tuple[Any, Any], part: tuple[Batch, Array]
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


def _split(batch: Batch, parts: int) -> Batch:
    """Batch of B -> arrays [parts, B / parts, ...], with every `parts`-th image."""
    size = batch.image.shape[0]
    if size % parts:
        raise ValueError(
            f"got a batch of {size}, expected a multiple of accumulate={parts}"
        )
    return jax.tree.map(
        lambda x: x.reshape(size // parts, parts, *x.shape[1:]).swapaxes(0, 1), batch
    )
