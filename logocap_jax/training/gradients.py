"""Gradients of a batch, at once or in parts."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import LossOutput, Method, Variables
from logocap_jax.structures import Batch


def compute_gradients(
    method: Method, variables: Variables, batch: Batch
) -> tuple[Any, LossOutput]:
    """The gradient of the loss by `variables["params"]`, and the loss itself."""

    def loss_fn(params: Any) -> tuple[Array, LossOutput]:
        output = method.loss({**variables, "params": params}, batch)
        return output.loss, output

    return jax.grad(loss_fn, has_aux=True)(variables["params"])


def accumulate_gradients(
    method: Method, variables: Variables, batch: Batch, *, parts: int
) -> tuple[Any, LossOutput]:
    """As `compute_gradients`, with the memory of a part of the batch.

    The parts go through the network one after the other. Each is normalised with its
    own statistics and moves the running ones. A loss that is a mean over the images
    comes out as that of the whole batch; one that is a mean over matched people, as
    LOGO-CAP's, weighs each part's people alike.

    Args:
      method: the method.
      variables: parameters and batch statistics.
      batch: every `parts`-th image makes a part, so that each device holds its share
        of every part and no image moves.
      parts: how many.

    Returns:
      Means over the parts of gradient, loss and terms; sums of counts; statistics after
      the last.

    Raises:
      ValueError: if `parts` does not divide the batch.
    """
    params = variables["params"]

    def add(carry: tuple[Any, Any], part: Batch) -> tuple[tuple[Any, Any], Any]:
        total, batch_stats = carry
        grads, output = compute_gradients(
            method, {"params": params, "batch_stats": batch_stats}, part
        )
        total = jax.tree.map(jnp.add, total, grads)
        return (total, output.batch_stats), output._replace(batch_stats={})

    start = jax.tree.map(jnp.zeros_like, params), variables["batch_stats"]
    (total, batch_stats), outputs = jax.lax.scan(add, start, _split(batch, parts))
    grads = jax.tree.map(lambda grad: grad / parts, total)
    loss, terms = jax.tree.map(jnp.mean, (outputs.loss, outputs.terms))
    counts = jax.tree.map(jnp.sum, outputs.counts)
    return grads, LossOutput(loss, terms, counts, batch_stats)


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
