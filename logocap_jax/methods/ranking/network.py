"""The network: HRNet, a heatmap head, and a regression head that reads the heatmaps."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.models.adaptive import AdaptiveConv
from logocap_jax.models.dense import Head, PartedNetwork
from logocap_jax.models.fine import FineHead
from logocap_jax.models.layers import (
    BatchNorm,
    Bias,
    Dtype,
    conv,
    run_part,
    small_init,
)
from logocap_jax.models.outside import zeros_outside

DILATIONS = (1, 2, 3)  # of the heatmap head's blocks


class BlockMaps(NamedTuple):
    """Arrays of an adaptive block.

    Attributes:
      transforms: T of the two adaptive convolutions, on `(y, x)` columns.
      middle: after the first convolution.
      output: of the block.
    """

    transforms: tuple[Float[Array, "B h w 1 2 2"], ...]
    middle: Float[Array, "B h w C"]
    output: Float[Array, "B h w C"]


class HeadMaps(NamedTuple):
    """Arrays of the heads, float32.

    Attributes:
      heatmaps: of the keypoints, by each block of the heatmap head.
      centers: heatmap of the pose centre.
      offsets: `cell - keypoint`, in cells (specification, 4).
      fine: heatmaps at stride 2; None: the network has none.
      heatmap_input: read by the blocks of the heatmap head.
      offset_input: read by the block of the regression head.
      heatmap_blocks: of the heatmap head.
      offset_block: of the regression head.
    """

    heatmaps: Float[Array, "R B h w K"]
    centers: Float[Array, "B h w 1"]
    offsets: Float[Array, "B h w K 2"]
    fine: Float[Array, "B h2 w2 K"] | None
    heatmap_input: Float[Array, "B h w C"]
    offset_input: Float[Array, "B h w D"]
    heatmap_blocks: tuple[BlockMaps, ...]
    offset_block: BlockMaps


class RankingNetwork(PartedNetwork):
    """Image -> heatmaps and offsets (specification, 2, 5 and 6).

    Attributes:
      offset_hidden: channels of the regression head.
      fine_hidden: channels of the head of heatmaps at stride 2; 0: none.
      adaptive: positions of taps move with the pixel.
      guidance: the regression head reads the heatmaps.
      input_momentum: share of the running statistics of the heatmap head's first norm
        that a step keeps.
    """

    offset_hidden: int
    fine_hidden: int = 0
    adaptive: bool = True
    guidance: bool = True
    input_momentum: float = 0.9

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
        def run(head: nn.Module, function: Callable[..., Any], x: Array) -> Any:
            remat = self.backbone.remat
            return run_part(function, head, x, train=train, remat=remat)

        count, dtype = self.num_keypoints, self.dtype
        heatmap_head = AdaptiveHead(
            *(self.heatmap_hidden, count, DILATIONS, self.adaptive),
            *(self.input_momentum, dtype),
            name="heatmap_head",
        )
        offset_head = AdaptiveHead(
            *(self.offset_hidden, 2 * count + 1, (1,), self.adaptive),
            dtype=dtype,
            name="offset_head",
        )
        call = AdaptiveHead.__call__
        heatmaps, start, blocks = run(heatmap_head, call, features)
        guide = jnp.mean(heatmaps, axis=0)
        guided = features
        if self.guidance:
            guided = jnp.concatenate([features, guide.astype(features.dtype)], axis=-1)
        (regression,), offset_start, (offset_block,) = run(offset_head, call, guided)
        fine = None
        if self.fine_hidden:
            fine_head = FineHead(self.fine_hidden, count, dtype=dtype, name="fine_head")
            x = jnp.concatenate([start, guide], axis=-1)
            _, fine = run(fine_head, FineHead.__call__, x)
        offsets = regression[..., :-1].reshape(*regression.shape[:-1], count, 2)
        return HeadMaps(
            *(heatmaps, regression[..., -1:], offsets, fine),
            *(start, offset_start, blocks, offset_block),
        )


class AdaptiveHead(nn.Module):
    """1x1 convolution, norm, ReLU; adaptive blocks side by side; 1x1 convolution.

    The last convolution is the same for all blocks.

    Attributes:
      hidden: channels inside.
      outputs: maps.
      dilations: of the blocks.
      adaptive: as for `RankingNetwork`.
      input_momentum: of the norm.
      dtype: dtype of the convolutions.
    """

    hidden: int
    outputs: int
    dilations: tuple[int, ...]
    adaptive: bool = True
    input_momentum: float = 0.9
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> tuple[
        Float[Array, "R B h w F"], Float[Array, "B h w D"], tuple[BlockMaps, ...]
    ]:
        """The maps of each block; what the blocks read, and their arrays."""
        head = Head(
            *(self.hidden, None, self.dtype, small_init, self.input_momentum),
            name="input",
        )
        start = head(x, train=train)
        blocks = AdaptiveBlocks(self.dilations, self.adaptive, self.dtype, name="block")
        maps = blocks(start.astype(self.dtype), train=train)
        output = conv(
            *(self.outputs, 1, 1, self.dtype),
            use_bias=True,
            kernel_init=small_init,
            name="output",
        )
        results = [output(block.output).astype(jnp.float32) for block in maps]
        return jnp.stack(results), start, maps


class AdaptiveBlocks(nn.Module):
    """Residual blocks of two adaptive convolutions, side by side on one input.

    They share all weights but norms and the biases of the matrices T, which both
    convolutions of a block have from its input (reference behaviour).

    Attributes:
      dilations: of each block.
      adaptive: off: T is the identity, as in an ordinary dilated convolution.
      dtype: dtype of the convolutions.
    """

    dilations: tuple[int, ...]
    adaptive: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> tuple[BlockMaps, ...]:
        """Apply the blocks."""
        convolutions = [
            AdaptiveConv(
                x.shape[-1], zero_at_border=True, dtype=self.dtype, name=f"conv{n}"
            )
            for n in (1, 2)
        ]
        # Positions are float32 in any case.
        matrices = [
            conv(4, kernel_init=nn.initializers.zeros, name=f"transform{n}")(x)
            for n in (1, 2)
            if self.adaptive
        ]
        return tuple(
            AdaptiveBlock(dilation, self.dtype, name=f"branch{i}")(
                x, matrices, convolutions, train=train
            )
            for i, dilation in enumerate(self.dilations)
        )


class AdaptiveBlock(nn.Module):
    """The part of a block that is its own.

    Attributes:
      dilation: of both convolutions.
      dtype: dtype of the convolutions.
    """

    dilation: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B h w C"],
        matrices: Sequence[Float[Array, "B h w 4"]],
        convolutions: Sequence[AdaptiveConv],
        *,
        train: bool,
    ) -> BlockMaps:
        """Apply the block, with matrices T as they are before their bias."""
        transforms, y = [], x
        for n, convolve in enumerate(convolutions, start=1):
            transform = jnp.broadcast_to(jnp.eye(2), (*x.shape[:3], 1, 2, 2))
            if matrices:
                entries = Bias(name=f"transform{n}")(matrices[n - 1])
                transform = entries.reshape(transform.shape)
            transforms.append(transform)
            # The ring that a dilation adds is one more matrix.
            y = convolve(y, transform + (self.dilation - 1) * jnp.eye(2))
            y = BatchNorm(dtype=self.dtype, name=f"norm{n}")(y, train=train)
            if n == 1:
                y = middle = nn.relu(y)
        return BlockMaps(tuple(transforms), middle, nn.relu(y + x))
