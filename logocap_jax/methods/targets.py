"""Targets of heatmaps and offsets, made from people, and the losses against them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import geometry, losses
from logocap_jax.codecs import heatmap, offset
from logocap_jax.methods.base import LossOutput, Variables
from logocap_jax.methods.dense_config import DenseConfig
from logocap_jax.structures import Batch


class LossRules(NamedTuple):
    """How people become targets, and what errors count.

    Attributes:
      sigmas: standard deviation of each keypoint's Gaussian and, last, the centre's, in
        cells.
      background_weight: weight of heatmap cells outside the Gaussians' boxes.
      offset_radius: half the side of the region that holds offsets, in cells.
      smooth_l1_beta: where the offset loss turns from quadratic to linear.
      offset_loss_weight: weight of the offset loss in the total.
      weight_per_kind: the boxes of each kind of point count for its own heatmap only.
      center_of_box: a pose's centre is the middle of the person's box; else the mean of
        its labelled keypoints.
      center_at_origin: the centre of a person without labelled keypoints is the
        photograph's pixel (0, 0), not the middle of its box.
    """

    sigmas: tuple[float, ...]
    background_weight: float
    offset_radius: int
    smooth_l1_beta: float
    offset_loss_weight: float
    weight_per_kind: bool = False
    center_of_box: bool = False
    center_at_origin: bool = False


def loss_rules(config: DenseConfig, **special: bool) -> LossRules:
    """The rules that settings tell; further fields of `LossRules` by name."""
    return LossRules(
        sigmas=config.sigmas,
        background_weight=config.background_weight,
        offset_radius=config.offset_radius,
        smooth_l1_beta=config.smooth_l1_beta,
        offset_loss_weight=config.offset_loss_weight,
        **special,
    )


def loss_output(
    terms: dict[str, Array], variables: Variables, dense_stats: Variables
) -> LossOutput:
    """The sum of loss terms, and batch statistics with new ones of the maps' net."""
    return LossOutput(
        loss=sum(terms.values(), jnp.zeros(())),
        terms=terms,
        counts={},
        batch_stats={**variables["batch_stats"], "dense": dense_stats},
    )


def map_losses(
    heatmaps: Float[Array, "*N B h w K1"],
    offsets: Float[Array, "B h w K 2"],
    batch: Batch,
    rules: LossRules,
) -> dict[str, Float[Array, ""]]:
    """The weighted heatmap and offset losses of a batch.

    Args:
      heatmaps: predictions, the pose centre's last; with axes in front, several of them
        that all have the same targets.
      offsets: predictions.
      batch: ground truth.
      rules: see `LossRules`.

    Returns:
      `{"heatmap": ..., "offset": ...}`; their sum is the loss.
    """
    heat_target, heat_weight = jax.vmap(lambda one: heatmap_targets(one, rules))(batch)
    off_target, off_weight = jax.vmap(lambda one: offset_targets(one, rules))(batch)
    error = offset_loss(offsets, off_target, off_weight, beta=rules.smooth_l1_beta)
    return {
        "heatmap": heatmap_loss(heatmaps, heat_target, heat_weight),
        "offset": rules.offset_loss_weight * error,
    }


def heatmap_targets(
    example: Batch, rules: LossRules, *, stride: int = geometry.STRIDE
) -> tuple[Float[Array, "h w K1"], Float[Array, "h w C"]]:
    """Heatmap targets of one image, and their weights, 0 where masked.

    Args:
      example: ground truth, a `Batch` without `B`, with a mask of this stride.
      rules: see `LossRules`.
      stride: input px per cell.

    Returns:
      Targets, the pose centre's last, and weights: C is 1 or K + 1.
    """
    points, exists = people_points(example, rules, stride)
    height, width = _cells(example, stride)
    target, weight = heatmap.encode(
        points,
        exists,
        height=height,
        width=width,
        sigmas=rules.sigmas,
        background_weight=rules.background_weight,
        per_kind=rules.weight_per_kind,
    )
    return target, weight * example.masks[stride][..., None]


def offset_targets(
    example: Batch, rules: LossRules
) -> tuple[Float[Array, "h w K 2"], Float[Array, "h w K"]]:
    """Offset targets of one image and their weights; see `offset.encode`.

    `example` is a `Batch` without `B`.
    """
    points, exists = people_points(example, rules, geometry.STRIDE)
    height, width = _cells(example, geometry.STRIDE)
    return offset.encode(
        points[:, :-1],
        exists[:, :-1],
        points[:, -1],
        exists[:, -1],
        example.size,
        height=height,
        width=width,
        radius=rules.offset_radius,
    )


def heatmap_loss(
    heatmaps: Float[Array, "*N B h w C1"],
    target: Float[Array, "B h w C1"],
    weight: Float[Array, "B h w C"],
) -> Float[Array, ""]:
    """`mean((H - T)^2 w)`."""
    target = jnp.broadcast_to(target, heatmaps.shape)
    return jnp.mean(losses.squared_error(heatmaps, target) * weight)


def offset_loss(
    offsets: Float[Array, "B h w K 2"],
    target: Float[Array, "B h w K 2"],
    weight: Float[Array, "B h w K"],
    *,
    beta: float,
) -> Float[Array, ""]:
    """`sum(smoothL1(O - T) w) / count(w > 0)`, x and y counted apart."""
    error = losses.smooth_l1(offsets, target, beta=beta)
    count = 2 * jnp.sum(weight > 0)
    return jnp.sum(error * weight[..., None]) / jnp.maximum(count, 1)


def _cells(example: Batch, stride: int) -> tuple[int, int]:
    height, width = (side // stride for side in example.image.shape[:2])
    return height, width


def people_points(
    example: Batch, rules: LossRules, stride: int
) -> tuple[Float[Array, "P K1 2"], Bool[Array, "P K1"]]:
    """Keypoints and, last, centres of people in cells, and which exist."""
    labelled = example.labelled & example.person[:, None]
    count = jnp.sum(labelled, axis=1, keepdims=True)
    total = jnp.sum(example.keypoints, axis=1, where=labelled[..., None])
    if rules.center_at_origin:
        otherwise = _photograph_origin(example.input_to_image)
    else:
        otherwise = (example.box[:, :2] + example.box[:, 2:]) / 2
    uses_mean = (count > 0) & (not rules.center_of_box)
    centers = jnp.where(uses_mean, total / jnp.maximum(count, 1), otherwise)
    points = jnp.concatenate([example.keypoints, centers[:, None]], axis=1)
    exists = jnp.concatenate([labelled, example.has_center[:, None]], axis=1)
    return geometry.input_to_cell(points, example.mirrored, stride), exists


def _photograph_origin(input_to_image: Float[Array, "2 3"]) -> Float[Array, "2"]:
    """Where the photograph's pixel (0, 0) lies in the input, px."""
    (a, b, x), (c, d, y) = input_to_image
    return jnp.stack([b * y - d * x, c * x - a * y]) / (a * d - b * c)
