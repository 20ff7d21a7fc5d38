"""DEKR's network: HRNet, a heatmap head, and one offset branch per keypoint."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.models.adaptive import (
    AdaptiveConv,
    GroupedConv,
    shift_conv,
    transform_conv,
)
from logocap_jax.models.dense import Head, PartedNetwork
from logocap_jax.models.layers import (
    BasicBlock,
    BatchNorm,
    Dtype,
    conv,
    run_part,
    small_init,
)
from logocap_jax.models.outside import zeros_outside

UNITS = 2  # adaptive units of a branch


class UnitMaps(NamedTuple):
    """Arrays of an adaptive unit, of all branches.

    Attributes:
      transform: T, on `(y, x)` columns.
      shift: t, `(y, x)`, in cells.
      convolved: before the norm.
      output: of the unit.
    """

    transform: Float[Array, "B h w K 2 2"]
    shift: Float[Array, "B h w K 2"]
    convolved: Float[Array, "B h w C"]
    output: Float[Array, "B h w C"]


class HeadMaps(NamedTuple):
    """Arrays of the heads, float32.

    Attributes:
      heatmaps: of the keypoints and, last, of the pose centre.
      offsets: `cell - keypoint`, in cells (specification, 4).
      heatmap_input: what the block of the heatmap head reads.
      heatmap_block: what it writes.
      units: of the offset branches.
      selector: logits; None: there is none.
    """

    heatmaps: Float[Array, "B h w K1"]
    offsets: Float[Array, "B h w K 2"]
    heatmap_input: Float[Array, "B h w C"]
    heatmap_block: Float[Array, "B h w C"]
    units: tuple[UnitMaps, ...]
    selector: Float[Array, "B h w C2"] | None = None


class DekrNetwork(PartedNetwork):
    """Image -> heatmaps and offsets (specification, 2 and 11).

    Attributes:
      keypoint_channels: channels of each keypoint's branch.
      selector: channels of the selector; 0: no selector head.
    """

    keypoint_channels: int = 15
    selector: int = 0

    def run_heads(
        self,
        features: Float[Array, "B h w C"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None,
    ) -> HeadMaps:
        """Compute the maps; arguments are as in a call."""
        with zeros_outside(valid_size, features, STRIDE):
            return self._maps(features, train)

    def _maps(self, features: Float[Array, "B h w C"], train: bool) -> HeadMaps:
        def run(head: nn.Module, function: Callable[..., Any]) -> Any:
            return run_part(
                function, head, features, train=train, remat=self.backbone.remat
            )

        heatmap_head = HeatmapHead(
            self.heatmap_hidden,
            self.num_keypoints + 1,
            self.dtype,
            name="heatmap_head",
        )
        offset_head = OffsetHead(
            self.num_keypoints, self.keypoint_channels, self.dtype, name="offset_head"
        )
        heatmaps, start, end = run(heatmap_head, HeatmapHead.__call__)
        offsets, units = run(offset_head, OffsetHead.__call__)
        maps = HeadMaps(heatmaps, offsets, start, end, units)
        if not self.selector:
            return maps
        hidden = self.num_keypoints * self.keypoint_channels
        head = Head(hidden, self.selector, self.dtype, name="selector_head")
        return maps._replace(selector=run(head, Head.__call__))


class HeatmapHead(nn.Module):
    """1x1 convolution, norm, ReLU; one residual block; 1x1 convolution.

    Attributes:
      hidden: channels inside.
      outputs: maps.
      dtype: dtype of the convolutions.
    """

    hidden: int
    outputs: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> tuple[
        Float[Array, "B h w K1"], Float[Array, "B h w F"], Float[Array, "B h w F"]
    ]:
        """The heatmaps; what the block reads and writes."""
        head = Head(self.hidden, None, self.dtype, small_init, name="input")
        start = head(x, train=train)
        block = BasicBlock(self.dtype, small_init, name="block")
        end = block(start.astype(self.dtype), train=train)
        output = conv(
            self.outputs,
            1,
            dtype=self.dtype,
            use_bias=True,
            kernel_init=small_init,
            name="output",
        )
        return output(end).astype(jnp.float32), start, end.astype(jnp.float32)


class OffsetHead(nn.Module):
    """One branch of adaptive units per keypoint, all computed as groups of channels.

    Attributes:
      num_keypoints: K.
      channels: of each branch.
      dtype: dtype of the convolutions.
    """

    num_keypoints: int
    channels: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> tuple[Float[Array, "B h w K 2"], tuple[UnitMaps, ...]]:
        """The offsets, and the arrays of the units."""
        count = self.num_keypoints
        head = Head(count * self.channels, None, self.dtype, small_init, name="input")
        y, units = head(x, train=train), []
        for i in range(UNITS):
            unit = AdaptiveUnit(count, self.dtype, name=f"unit{i}")
            units.append(unit(y, train=train))
            y = units[-1].output
        output = GroupedConv(
            count, (2,), self.dtype, side=1, kernel_init=small_init, name="output"
        )
        return output(y), tuple(units)


class AdaptiveUnit(nn.Module):
    """Adaptive convolution, norm, the identity, ReLU; of each group of channels.

    Attributes:
      groups: of the channels.
      dtype: dtype of the convolutions.
    """

    groups: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> UnitMaps:
        """Apply the unit."""
        transform = transform_conv(self.groups, "transform", self.dtype)(x)
        shift = shift_conv(self.groups, "shift", self.dtype)(x)
        convolve = AdaptiveConv(x.shape[-1], dtype=self.dtype, name="conv")
        y = convolve(x, transform, shift)
        norm = BatchNorm(dtype=self.dtype, name="norm")
        output = nn.relu(norm(y, train=train) + x.astype(self.dtype))
        return UnitMaps(transform, shift, y, output)
