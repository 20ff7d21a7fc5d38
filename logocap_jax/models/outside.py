"""Convolutions that read zeros outside of an image, wherever it ends."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Int

from logocap_jax.ops.valid_size import valid_mask

# Of the maps in a network with four branches, the image itself among them.
_STRIDES = (1, 2, 4, 8, 16, 32)


def zeros_outside(
    valid_size: Int[Array, "B 2"], *, height: int, width: int
) -> AbstractContextManager[None]:
    """Within this context each convolution reads zeros outside of its images.

    Norms and activations put other values there; setting them to zero before every
    convolution makes it the zero padding of a smaller image.

    Args:
      valid_size: `(height, width)` of each image, px of the network's input.
      height: of the network's input, px, a multiple of 32.
      width: the same.
    """
    mask = jax.vmap(valid_mask, in_axes=(0, None, None))
    # Once for all convolutions, of which there are hundreds to trace.
    seen = {
        height // stride: mask(valid_size // stride, height // stride, width // stride)
        for stride in _STRIDES
    }

    def read_zeros(
        call: Callable[..., Any],
        inputs: tuple[Any, ...],
        options: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if not isinstance(context.module, nn.Conv) or context.method_name != "__call__":
            return call(*inputs, **options)
        (x,) = inputs
        return call(jnp.where(seen[x.shape[1]][..., None], x, 0), **options)

    return nn.intercept_methods(read_zeros)
