"""Layers of adaptive convolutions, and the grouped ones that move their taps."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.models.layers import torch_default_init
from logocap_jax.ops.adaptive_conv import RING, adaptive_convolution

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
            kernel.astype(self.dtype),
            transform,
            shift,
            dilation=self.dilation,
            zero_at_border=self.zero_at_border,
        )


class GroupedConv(nn.Module):
    """Zero-padded 3x3 convolution of each group of channels, with few outputs.

    It starts at 0. Over devices that share a batch its gradients need sums alone: XLA
    gathers the batch for the kernel's gradient of a grouped convolution.

    Attributes:
      groups: groups of consecutive channels.
      shape: shape of a group's output at each pixel.
      dtype: of input and kernel; the result is float32.
    """

    groups: int
    shape: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w G *shape"]:
        """Convolve."""
        batch, height, width, channels = x.shape
        size = self.groups * jnp.zeros(self.shape).size
        inputs = channels // self.groups
        kernel = self.param("kernel", nn.initializers.zeros, (3, 3, inputs, size))
        bias = self.param("bias", nn.initializers.zeros, (size,))
        maps = x.astype(self.dtype).reshape(batch, height, width, self.groups, inputs)
        maps = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)))
        weights = kernel.astype(self.dtype).reshape(3, 3, inputs, self.groups, -1)
        result = sum(
            jnp.einsum(
                "bhwgc,cgf->bhwgf",
                maps[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width],
                weights[1 + i, 1 + j],
                preferred_element_type=jnp.float32,
            )
            for i, j in RING
        )
        result = result + bias.astype(jnp.float32).reshape(self.groups, -1)
        return result.reshape(batch, height, width, self.groups, *self.shape)


def transform_conv(groups: int, name: str, dtype: Dtype = jnp.float32) -> GroupedConv:
    """Predict the matrices of an adaptive convolution, on `(y, x)` columns."""
    return GroupedConv(groups, (2, 2), dtype, name=name)


def shift_conv(groups: int, name: str, dtype: Dtype = jnp.float32) -> GroupedConv:
    """Predict the translations `(y, x)` of an adaptive convolution."""
    return GroupedConv(groups, (2,), dtype, name=name)
