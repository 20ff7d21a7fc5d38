"""Heads that find one person's keypoints: modules, losses, decoding.

Points are in units of the input's width and height.
"""

import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from logocap_jax import losses
from logocap_jax.codecs import proposals
from logocap_jax.geometry import STRIDE
from logocap_jax.models.layers import Dtype, conv, small_init
from logocap_jax.ops.proposals import quality

# Of a logit whose sigmoid is 0.01.
_RARE = nn.initializers.constant(-math.log(99))
_NEAR_PEAK = 0.7  # cells with a larger target are counted


class Labels(NamedTuple):
    """One person's keypoints in each crop.

    Attributes:
      points: in cells; arbitrary where not `labelled`.
      labelled: keypoint takes part in the loss, if it is near enough to the map.
    """

    points: Float[Array, "B K 2"]
    labelled: Bool[Array, "B K"]


class Found(NamedTuple):
    """Keypoints and their scores."""

    points: Float[Array, "*B K 2"]
    scores: Float[Array, "*B K"]


class Head(nn.Module):
    """Features at stride 4 -> maps, by name.

    Attributes:
      num_keypoints: K.
      heatmap_branch: has a heatmap beside proposals.
      dtype: dtype of the convolutions; maps are float32.
    """

    num_keypoints: int
    heatmap_branch: bool = True
    dtype: Dtype = jnp.float32

    #: The map to look at, logits or not, and if its values are before a sigmoid.
    SHOWN: ClassVar[tuple[str, bool] | None] = None

    @staticmethod
    def losses(maps: dict[str, Array], labels: Labels) -> dict[str, Array]:
        """The loss terms of a batch."""
        raise NotImplementedError

    @staticmethod
    def decode(maps: dict[str, Array]) -> Found:
        """The keypoints of each crop."""
        raise NotImplementedError

    def branch(
        self, x: Array, outputs: int, name: str, bias: nn.initializers.Initializer
    ) -> Array:
        """A 1x1 convolution; within `__call__`."""
        maps = conv(
            *(outputs, 1, 1, self.dtype),
            use_bias=True,
            kernel_init=small_init,
            bias_init=bias,
            name=name,
        )
        return maps(x).astype(jnp.float32)


class ProposalHead(Head):
    """Spatial-aware regression (specification, 2)."""

    SHOWN: ClassVar[tuple[str, bool] | None] = ("logits", True)

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> dict[str, Array]:
        """`logits` of confidences, `proposals`, and `heatmaps`, before a sigmoid."""
        count, zeros = self.num_keypoints, nn.initializers.zeros
        # Reference behaviour: beside a heatmap, confidences start at a half.
        start = zeros if self.heatmap_branch else _RARE
        logits = self.branch(x, count, "selector", start)
        offsets = self.branch(x, 2 * count, "offset", zeros)
        offsets = offsets.reshape(*offsets.shape[:-1], count, 2)
        maps = {"logits": logits, "proposals": jax.vmap(proposals.propose)(offsets)}
        if self.heatmap_branch:
            maps["heatmaps"] = self.branch(x, count, "heatmap", _RARE)
        return maps

    @staticmethod
    def losses(maps: dict[str, Array], labels: Labels) -> dict[str, Array]:
        """Spatial-aware loss, and that of the heatmap (specification, 3)."""
        height, width, count = maps["logits"].shape[1:]
        points, near = near_labels(labels, height, width)
        target = points / jnp.array([width, height])

        def compare(logits: Array, found: Array, target: Array) -> Array:
            error = jnp.sum(jnp.abs(found - target), axis=-1)  # [h, w, K]
            flat = (logits.reshape(-1, count), quality(error).reshape(-1, count))
            return losses.expected_quality(*flat)

        terms = jax.vmap(compare)(maps["logits"], maps["proposals"], target)
        found = {"spatial": mean_over(terms, near)}
        if "heatmaps" in maps:
            found["heatmap"] = _focal_loss(maps["heatmaps"], points, near)
        return found

    @staticmethod
    def decode(maps: dict[str, Array]) -> Found:
        """The keypoints of each crop."""
        return Found(*jax.vmap(proposals.decode)(maps["logits"], maps["proposals"]))


class HeatmapHead(Head):
    """One heatmap per keypoint, regressed."""

    SHOWN: ClassVar[tuple[str, bool] | None] = ("heatmaps", False)

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> dict[str, Array]:
        """`heatmaps`."""
        zeros = nn.initializers.zeros
        return {"heatmaps": self.branch(x, self.num_keypoints, "output", zeros)}

    @staticmethod
    def losses(maps: dict[str, Array], labels: Labels) -> dict[str, Array]:
        """Mean squared error of the heatmaps of labelled keypoints."""
        points, near = near_labels(labels, *maps["heatmaps"].shape[1:3])
        error = losses.squared_error(maps["heatmaps"], _targets(maps, points))
        return {"heatmap": mean_over(jnp.mean(error, axis=(1, 2)), near)}

    @staticmethod
    def decode(maps: dict[str, Array]) -> Found:
        """The highest cells, moved by a quarter towards the higher neighbour."""
        return Found(*jax.vmap(proposals.decode_highest)(maps["heatmaps"]))


class RegressionHead(Head):
    """Coordinates from the mean of the features; every score is 1."""

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> dict[str, Array]:
        """`points`, in units of the input's sides."""
        mean = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
        half = nn.initializers.constant(0.5)
        dense = nn.Dense(
            2 * self.num_keypoints, kernel_init=small_init, bias_init=half, name="fc"
        )
        return {
            "points": dense(mean).reshape(-1, self.num_keypoints, 2),
            "size": jnp.zeros((1, *x.shape[1:3])),
        }

    @staticmethod
    def losses(maps: dict[str, Array], labels: Labels) -> dict[str, Array]:
        """Mean absolute error of the labelled keypoints' coordinates."""
        height, width = maps["size"].shape[1:]
        points, near = near_labels(labels, height, width)
        error = jnp.abs(maps["points"] - points / jnp.array([width, height]))
        return {"regression": mean_over(jnp.sum(error, axis=-1), near)}

    @staticmethod
    def decode(maps: dict[str, Array]) -> Found:
        """The points as they are."""
        points = maps["points"]
        return Found(points, jnp.ones(points.shape[:-1]))


HEADS: dict[str, type[Head]] = {
    "sar": ProposalHead,
    "heatmap": HeatmapHead,
    "regression": RegressionHead,
}


def labels_of(keypoints: Float[Array, "B K 2"], labelled: Bool[Array, "B K"]) -> Labels:
    """Labels from keypoints in input px."""
    return Labels(keypoints / STRIDE, labelled)


def near_labels(
    labels: Labels, height: int, width: int
) -> tuple[Float[Array, "B K 2"], Bool[Array, "B K"]]:
    """Keypoints in cells, 0 unless they take part, and which do."""
    points = jnp.where(labels.labelled[..., None], labels.points, 0)
    near = proposals.is_near(points, height=height, width=width) & labels.labelled
    return jnp.where(near[..., None], points, 0), near


def mean_over(terms: Float[Array, "B K"], mask: Bool[Array, "B K"]) -> Array:
    """The mean of some terms of a batch, 0 if there are none."""
    total = jnp.sum(jnp.where(mask, terms, 0))
    return total / jnp.maximum(jnp.sum(mask), 1)


def _targets(maps: dict[str, Array], points: Array) -> Float[Array, "B h w K"]:
    height, width = maps["heatmaps"].shape[1:3]

    def encode(point: Array) -> Array:
        return proposals.encode_heatmap(point, height=height, width=width)

    return jax.vmap(jax.vmap(encode, out_axes=-1))(points)


def _focal_loss(logits: Array, points: Array, near: Array) -> Array:
    """Quality focal loss, over the number of cells near a peak."""
    target = _targets({"heatmaps": logits}, points)
    kept = near[:, None, None]
    terms = jnp.where(kept, losses.quality_focal(logits, target), 0)
    count = jnp.sum(kept & (target > _NEAR_PEAK))
    return jnp.sum(terms) / jnp.maximum(count, 1)
