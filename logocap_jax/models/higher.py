"""HigherHRNet: heatmaps at strides 4 and 2, and a tag per keypoint and cell."""

from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.models.dense import PartedNetwork
from logocap_jax.models.fine import FineHead
from logocap_jax.models.layers import conv, run_part, small_init
from logocap_jax.models.outside import zeros_outside


class HigherMaps(NamedTuple):
    """Arrays of the head.

    Attributes:
      coarse: heatmaps at stride 4, the pose centre's last, if it has one.
      tags: at stride 4, of each heatmap.
      fine_features: read by the last convolution.
      fine: heatmaps at stride 2.
    """

    coarse: Float[Array, "B h w C"]
    tags: Float[Array, "B h w C"]
    fine_features: Float[Array, "B h2 w2 D"]
    fine: Float[Array, "B h2 w2 C"]


class HigherNetwork(PartedNetwork):
    """Image -> heatmaps and tags (specification, 2).

    Features are those of the backbone's first branch. `heatmap_hidden` are the channels
    at stride 2.

    Attributes:
      head_blocks: residual blocks at stride 2.
      center: a last heatmap, and a tag, for the pose centre.
    """

    head_blocks: int = 4
    center: bool = True

    ONE_BRANCH: ClassVar[bool] = True

    def run_heads(
        self,
        features: Float[Array, "B h w C"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None,
    ) -> HigherMaps:
        """Compute the maps; arguments are as in a call."""
        count = self.num_keypoints + int(self.center)
        first = conv(
            *(2 * count, 1, 1, self.dtype),
            use_bias=True,
            kernel_init=small_init,
            name="output",
        )
        fine_head = FineHead(
            *(self.heatmap_hidden, count, self.head_blocks, self.dtype),
            name="fine_head",
        )
        with zeros_outside(valid_size, features, STRIDE):
            maps = first(features)
            x = jnp.concatenate([features, maps], axis=-1)
            fine_features, fine = run_part(
                FineHead.__call__, fine_head, x, train=train, remat=self.backbone.remat
            )
        maps = maps.astype(jnp.float32)
        return HigherMaps(*(maps[..., :count], maps[..., count:]), fine_features, fine)
