"""Images that fill only the top left of their array, so that sizes share a program.

The rest must not matter: convolutions read zeros there, as beyond the border
of an image, and interpolation repeats the last row and column.
"""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.models.adaptive import AdaptiveConv, GroupedConv
from logocap_jax.models.layers import BatchNorm, Bias

# Of the maps in a network with four branches, the image itself among them.
_STRIDES = (1, 2, 4, 8, 16, 32)
# At test time the result of a position depends on that position alone.
_POINTWISE = (BatchNorm, Bias, nn.Dense)


def zeros_outside(
    valid_size: Int[Array, "B 2"] | None, maps: Float[Array, "B h w C"], stride: int = 1
) -> AbstractContextManager[None]:
    """Within this context each convolution reads zeros outside of its images.

    Norms and activations put other values there; setting them to zero before every
    convolution makes it the zero padding of a smaller image. Modules made of other
    modules are entered; functions that they call themselves on maps (pooling,
    upsampling) are theirs to mend, as by `extend_edges`. Sizes are in px of the
    network's input, multiples of 32; None: the images fill their array. `maps` are
    what the convolutions start from, at `stride`.

    Raises:
      ValueError: within the context, if a module may mix positions and is not known:
        a local or circular convolution, a pooling module.
    """
    if valid_size is None:
        return nullcontext()
    height, width = (stride * side for side in maps.shape[1:3])
    mask = jax.vmap(valid_mask, in_axes=(0, None, None))
    # Once for all convolutions: a network traces hundreds of them.
    masks = {
        (height // stride, width // stride): mask(
            valid_size // stride, height // stride, width // stride
        )
        for stride in _STRIDES
    }
    calls = itertools.count()  # a module that calls no other is a leaf

    def read_zeros(
        call: Callable[..., Any],
        inputs: tuple[Any, ...],
        options: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module = context.module
        if context.method_name != "__call__":
            return call(*inputs, **options)
        if _pads_with_zeros(module):
            x, *others = inputs
            inputs = (jnp.where(masks[x.shape[1:3]][..., None], x, 0), *others)
        before = next(calls)
        result = call(*inputs, **options)
        is_leaf = next(calls) == before + 1
        if is_leaf or _has_parameters(module):
            _require_known(module)
        return result

    return nn.intercept_methods(read_zeros)


def _pads_with_zeros(module: nn.Module) -> bool:
    if isinstance(module, AdaptiveConv | GroupedConv):
        return True
    if isinstance(module, nn.ConvTranspose):
        return module.padding == "SAME"
    return isinstance(module, nn.Conv) and module.padding not in ("CIRCULAR", "REFLECT")


def _has_parameters(module: nn.Module) -> bool:
    """Tell a module with parameters of its own from one whose submodules have all."""
    leaves = module.variables.get("params", {}).values()
    return any(hasattr(leaf, "shape") for leaf in leaves)


def _require_known(module: nn.Module) -> None:
    if not (_pads_with_zeros(module) or isinstance(module, _POINTWISE)):
        raise ValueError(
            f"{'/'.join(module.path)}: got a {type(module).__name__} on a canvas that "
            "images of several sizes share, expected zero-padded Conv, BatchNorm or "
            "Dense; declare that the method does not share canvases"
        )


def valid_mask(
    valid_size: Int[Array, "2"], height: int, width: int
) -> Bool[Array, "{height} {width}"]:
    """Mask of the top-left `valid_size` (height, width) of a map."""
    rows, columns = jnp.arange(height), jnp.arange(width)
    return (rows < valid_size[0])[:, None] & (columns < valid_size[1])


def extend_edges(
    maps: Float[Array, "h w C"], valid_size: Int[Array, "2"]
) -> Float[Array, "h w C"]:
    """Repeat the last valid row and column all the way out."""
    height, width, _ = maps.shape
    rows = jnp.minimum(jnp.arange(height), valid_size[0] - 1)
    columns = jnp.minimum(jnp.arange(width), valid_size[1] - 1)
    return jnp.take(jnp.take(maps, rows, axis=0), columns, axis=1)
