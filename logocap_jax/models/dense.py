"""Backbone and heads: image -> dense maps."""

import functools
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from logocap_jax.models.hrnet import HRNet, HRNetConfig
from logocap_jax.models.layers import (
    BatchNorm,
    Dtype,
    conv,
    run_part,
    torch_default_init,
)
from logocap_jax.models.outside import zeros_outside


class Head(nn.Module):
    """1x1 convolution, batch norm, ReLU, and, if asked for, an output convolution.

    Attributes:
      hidden: channels of the first convolution.
      outputs: channels of the output convolution, if any.
      dtype: dtype of the computation.
      kernel_init: start of the kernels.
      momentum: share of the norm's running statistics that a step keeps.
    """

    hidden: int
    outputs: int | None = None
    dtype: Dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = torch_default_init
    momentum: float = 0.9

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Apply the head; the result is float32, for coordinates depend on it."""
        convolve = functools.partial(
            conv, kernel=1, dtype=self.dtype, kernel_init=self.kernel_init
        )
        x = convolve(self.hidden, name="conv")(x)
        norm = BatchNorm(momentum=self.momentum, dtype=self.dtype, name="norm")
        x = nn.relu(norm(x, train=train))
        if self.outputs is not None:
            x = convolve(self.outputs, use_bias=True, name="output")(x)
        return x.astype(jnp.float32)


class PartedNetwork(nn.Module):
    """HRNet and heads, which may be run one after the other.

    Attributes:
      backbone: sizes of the HRNet.
      num_keypoints: K.
      heatmap_hidden: hidden channels of the heatmap head.
      dtype: dtype of the convolutions; results are float32.
      ONE_BRANCH: as of `HRNet.one_branch`.
    """

    backbone: HRNetConfig
    num_keypoints: int
    heatmap_hidden: int
    dtype: Dtype

    ONE_BRANCH: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "B H W 3"] | Float[Array, "B h w C"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None = None,
        part: str = "both",
    ) -> Any:
        """Compute the maps, or what they are computed from.

        Args:
          image: normalised RGB; of the heads alone, features.
          train: use and update batch statistics.
          valid_size: height and width of each image, px, multiples of 32; None: all.
            Outside of it the maps are arbitrary.
          part: `both`; `backbone`: image to features, `[B, h, w, C]`; or `heads`:
            features to maps.

        Returns:
          The result of `run_heads`, or features.
        """
        features = image
        if part != "heads":
            features = self.run_backbone(image, train=train, valid_size=valid_size)
        if part == "backbone":
            return features
        return self.run_heads(features, train=train, valid_size=valid_size)

    def run_backbone(
        self,
        image: Float[Array, "B H W 3"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None,
    ) -> Float[Array, "B h w C"]:
        """Compute the features; arguments are as in a call."""
        backbone = HRNet(self.backbone, self.dtype, self.ONE_BRANCH, name="backbone")
        with zeros_outside(valid_size, image):
            return backbone(image, train=train, valid_size=valid_size)

    def run_heads(
        self,
        features: Float[Array, "B h w C"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None,
    ) -> Any:
        """Compute the maps at stride 4; arguments are as in a call."""
        raise NotImplementedError


class DenseNetwork(PartedNetwork):
    """HRNet with a heatmap, an offset and, if asked for, an embedding head.

    Attributes:
      offset_hidden: hidden channels of the offset head.
      embedding: channels of the embedding; 0: no embedding head.
      selector: channels of the selector; 0: no selector head.
    """

    offset_hidden: int
    embedding: int = 0
    selector: int = 0

    def run_heads(
        self,
        features: Float[Array, "B h w C"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None,
    ) -> tuple[Array, ...]:
        """Heatmaps (the pose centre's last), offsets, embedding (D may be 0), selector.

        The selector's logits come only where it has channels.
        """
        del valid_size  # The heads mix no cells.

        def head(hidden: int, outputs: int | None, name: str) -> Array:
            head = Head(hidden, outputs, self.dtype, name=name)
            return run_part(
                Head.__call__, head, features, train=train, remat=self.backbone.remat
            )

        heatmaps = head(self.heatmap_hidden, self.num_keypoints + 1, "heatmap_head")
        offsets = head(self.offset_hidden, 2 * self.num_keypoints, "offset_head")
        offsets = offsets.reshape(*offsets.shape[:-1], self.num_keypoints, 2)
        if self.embedding:
            embedding = head(self.embedding, None, "embedding_head")
        else:
            embedding = jnp.zeros((*heatmaps.shape[:-1], 0), jnp.float32)
        if not self.selector:
            return heatmaps, offsets, embedding
        selector = head(self.offset_hidden, self.selector, "selector_head")
        return heatmaps, offsets, embedding, selector
