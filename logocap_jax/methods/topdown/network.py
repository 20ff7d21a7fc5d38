"""Backbone and head of a top-down method: crop -> maps."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.methods.topdown.heads import HEADS
from logocap_jax.models.hrnet import HRNet, HRNetConfig
from logocap_jax.models.layers import Dtype
from logocap_jax.models.resnet import Deconvolutions, ResNet, ResNetConfig


class PersonNetwork(nn.Module):
    """Crops of people -> the maps of a head.

    Attributes:
      backbone: its sizes; of an HRNet the first branch is read.
      deconvolutions: channels of those between backbone and head, if any.
      head: one of `HEADS`.
      num_keypoints: K.
      heatmap_branch: train a heatmap beside proposals.
      dtype: dtype of the convolutions; maps are float32.
    """

    backbone: HRNetConfig | ResNetConfig
    deconvolutions: tuple[int, ...]
    head: str
    num_keypoints: int
    heatmap_branch: bool
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "B H W 3"] | Float[Array, "B h w C"],
        *,
        train: bool,
        part: str = "both",
    ) -> Any:
        """Compute the maps, or what they are computed from.

        Args:
          image: normalised RGB; of the head alone, features of the backbone.
          train: use and update batch statistics.
          part: `both`; `backbone`: image to features; or `head`: features to maps.

        Returns:
          Maps by name, or features.
        """
        x = image
        if part != "head":
            x = self._backbone()(x, train=train)
        if part == "backbone":
            return x
        if self.deconvolutions:
            layers = Deconvolutions(
                self.deconvolutions, self.dtype, name="deconvolutions"
            )
            x = layers(x, train=train)
        head = HEADS[self.head](
            *(self.num_keypoints, self.heatmap_branch, self.dtype), name="head"
        )
        return head(x)

    def _backbone(self) -> HRNet | ResNet:
        if isinstance(self.backbone, ResNetConfig):
            return ResNet(self.backbone, self.dtype, name="backbone")
        return HRNet(self.backbone, self.dtype, one_branch=True, name="backbone")
