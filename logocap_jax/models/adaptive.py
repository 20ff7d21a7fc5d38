"""Layers of adaptive convolutions, and the grouped ones that move their taps."""

import itertools
import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.models.layers import torch_default_init
from logocap_jax.ops.adaptive_conv import adaptive_convolution

Dtype = Any


class AdaptiveConv(nn.Module):
    """Adaptive 3x3 convolution without bias; see `adaptive_convolution`.

    Attributes:
      features: output channels, of all groups together.
      dilation: of the fixed ring.
      zero_at_border: the rule of derivatives at exactly -1.
      dtype: of input and kernel; positions are float32.
    """

    features: int
    dilation: int = 1
    zero_at_border: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B h w C"],
        transform: Float[Array, "B h w G 2 2"],
        shift: Float[Array, "B h w G 2"] | None = None,
    ) -> Float[Array, "B h w F"]:
        """Convolve; groups are those of `transform`."""
        shape = (3, 3, x.shape[-1] // transform.shape[3], self.features)
        kernel = self.param("kernel", torch_default_init, shape)
        return adaptive_convolution(
            x.astype(self.dtype),
            jnp.asarray(kernel, self.dtype),
            transform,
            shift,
            dilation=self.dilation,
            zero_at_border=self.zero_at_border,
        )


class GroupedConv(nn.Module):
    """Zero-padded convolution of each group of channels, with few outputs.

    Over devices that share a batch its gradients need sums alone: XLA
    gathers the batch for the kernel's gradient of a grouped convolution.

    Attributes:
      groups: groups of consecutive channels.
      shape: shape of a group's output at each pixel.
      dtype: of input and kernel; the result is float32.
      side: of the kernel, odd.
      kernel_init: start of the kernel.
    """

    groups: int
    shape: tuple[int, ...]
    dtype: Dtype = jnp.float32
    side: int = 3
    kernel_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w G *shape"]:
        """Convolve."""
        batch, height, width, channels = x.shape
        size, side = self.groups * math.prod(self.shape), self.side
        inputs = channels // self.groups
        kernel = self.param("kernel", self.kernel_init, (side, side, inputs, size))
        bias = self.param("bias", nn.initializers.zeros, (size,))
        maps = x.astype(self.dtype).reshape(batch, height, width, self.groups, inputs)
        border = (side // 2, side // 2)
        maps = jnp.pad(maps, ((0, 0), border, border, (0, 0), (0, 0)))
        weights = kernel.astype(self.dtype)
        weights = weights.reshape(side, side, inputs, self.groups, -1)
        result = sum(
            jnp.einsum(
                "bhwgc,cgf->bhwgf",
                maps[:, i : i + height, j : j + width],
                weights[i, j],
                preferred_element_type=jnp.float32,
            )
            for i, j in itertools.product(range(side), repeat=2)
        )
        result = result + bias.astype(jnp.float32).reshape(self.groups, -1)
        return result.reshape(batch, height, width, self.groups, *self.shape)


def transform_conv(groups: int, name: str, dtype: Dtype = jnp.float32) -> GroupedConv:
    """Predict the matrices of an adaptive convolution, on `(y, x)` columns."""
    return GroupedConv(groups, (2, 2), dtype, name=name)


def shift_conv(groups: int, name: str, dtype: Dtype = jnp.float32) -> GroupedConv:
    """Predict the translations `(y, x)` of an adaptive convolution."""
    return GroupedConv(groups, (2,), dtype, name=name)
