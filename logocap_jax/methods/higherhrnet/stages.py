"""The method at test time: its named stages, and the functions built from them.

Specification: `../shared/siblings/centergroup/spec.md`, 3 and 4.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.geometry import CellRule
from logocap_jax.inference.absorption import find_candidates
from logocap_jax.methods.base import Explanation, MapLayer, Stage, Variables
from logocap_jax.methods.higher_maps import FINE, extend, map_stages
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.grouping import group
from logocap_jax.methods.stages import map_valid, run_stages
from logocap_jax.models.outside import valid_mask
from logocap_jax.ops.sampling import upsample_bilinear
from logocap_jax.structures import Poses, View

COLORS = 8
_CELLS = CellRule(FINE, (FINE - 1) / 2)


def make_stages(config: HigherHRNetConfig) -> tuple[Stage, ...]:
    """The named stages, from images to people.

    `M` are people in the order of founding, at most all candidates.

    Returns:
      Those of `map_stages`; stages that write `heat_planes` `[B, K, H, W]` and
      `tag_planes` `[B, K, T, H, W]`; `candidates` (whole input px), `candidate_values`
      and `candidate_tags`, `[B, K, N, ...]`; `adjusted`, candidates by a quarter pixel
      nearer to their peaks; `member` `[B, M, K]`, the candidate of each joint, and
      `valid`; `keypoints` and `joint_values` `[B, M, K, ...]`, grouped, and
      `person_scores`; `refined` and `refined_values`; last `outputs`, poses by result
      set.
    """

    def stage(
        name: str, reads: tuple[str, ...], writes: tuple[str, ...], run: Any
    ) -> Stage:
        return Stage(name, reads, writes, partial(run, config))

    planes = ("heat_planes", "tag_planes")
    candidates = ("candidates", "candidate_values", "candidate_tags")
    joints = ("keypoints", "joint_values")
    refined = ("refined", "refined_values")
    finding = (*joints, "member", "candidate_tags", "valid", *planes, "valid_size")
    return (
        *map_stages(config),
        stage("planes", ("heatmaps", "half_tags", "valid_size"), planes, _make_planes),
        stage(
            "candidates",
            (*planes, "valid_size"),
            candidates,
            _find_candidates,
        ),
        Stage(
            "adjust",
            ("candidates", "heat_planes", "valid_size"),
            ("adjusted",),
            _adjust,
        ),
        stage("grouping", candidates[1:], ("member", "valid"), _group),
        Stage(
            "joints",
            ("member", "adjusted", "candidate_values"),
            (*joints, "person_scores"),
            _gather,
        ),
        stage("refine", finding, refined, _refine),
        Stage(
            "result sets",
            (*refined, "person_scores", "valid"),
            ("outputs",),
            _make_poses,
        ),
    )


def _make_planes(
    config: HigherHRNetConfig,
    _: Variables,
    heatmaps: Array,
    half_tags: Array,
    sizes: Array | None,
) -> tuple[Array, Array]:
    """Full-size heatmaps and tags of the keypoints, plane by plane."""
    count = config.skeleton.num_keypoints
    batch, height, width = half_tags.shape[:3]
    tags = half_tags[..., :count, :].reshape(batch, height, width, -1)
    tags = jnp.moveaxis(extend(tags, sizes, FINE), 3, 1)
    full = upsample_bilinear(tags.reshape(-1, height, width, 1), FINE)
    shape = (batch, count, half_tags.shape[-1], FINE * height, FINE * width)
    return jnp.moveaxis(heatmaps[..., :count], 3, 1), full.reshape(shape)


def _find_candidates(
    config: HigherHRNetConfig,
    _: Variables,
    heat_planes: Array,
    tag_planes: Array,
    sizes: Array | None,
) -> tuple[Array, Array, Array]:
    """The highest peaks of each heatmap, and the tags there."""

    def find(planes: Array, tags: Array, size: Array | None) -> tuple[Array, ...]:
        heatmaps = jnp.moveaxis(planes, 0, -1)
        found = find_candidates(heatmaps, size, count=config.num_candidates)
        x, y = jnp.moveaxis(found.points.astype(jnp.int32), -1, 0)
        kind = jnp.arange(len(tags))[:, None]
        return found.points, found.values, tags[kind, :, y, x]

    points, values, tags = jax.vmap(find)(heat_planes, tag_planes, sizes)
    return points, values, tags


def quarter_shift(
    plane: Float[Array, "H W"],
    pixel: Int[Array, "2"],
    valid_size: Int[Array, "2"] | None = None,
) -> Float[Array, "2"]:
    """A whole pixel `(x, y)`, moved by a quarter to its higher neighbours.

    And by half a pixel in any case (specification, 4, step 6).

    Args:
      plane: heatmap in input px.
      pixel: the place.
      valid_size: height and width of the image in it; None: all.
    """
    limit = jnp.asarray(plane.shape if valid_size is None else valid_size)[::-1] - 1

    def shift(step: Int[Array, "2"]) -> Array:
        (x1, y1), (x0, y0) = (
            jnp.clip(pixel + sign * step, 0, limit) for sign in (1, -1)
        )
        return jnp.where(plane[y1, x1] > plane[y0, x0], 0.25, -0.25)

    return pixel + jax.vmap(shift)(jnp.eye(2, dtype=jnp.int32)) + 0.5


def _adjust(
    _: Variables, candidates: Array, planes: Array, sizes: Array | None
) -> tuple[Array]:
    def shift(pixels: Array, plane: Array, size: Array | None) -> Array:
        return jax.vmap(lambda pixel: quarter_shift(plane, pixel, size))(pixels)

    pixels = candidates.astype(jnp.int32)
    by_type = jax.vmap(shift, in_axes=(0, 0, None))
    return (jax.vmap(by_type)(pixels, planes, sizes),)


def _group(
    config: HigherHRNetConfig, _: Variables, values: Array, tags: Array
) -> tuple[Array, Array]:
    def run(values: Array, tags: Array) -> tuple[Array, Array]:
        people = group(
            values,
            tags,
            order=config.order,
            detection_threshold=config.detection_threshold,
            tag_threshold=config.tag_threshold,
            max_people=config.max_people,
        )
        return people.member, jnp.arange(len(people.member)) < people.found

    return jax.vmap(run)(values, tags)


def _gather(
    _: Variables, member: Array, adjusted: Array, values: Array
) -> tuple[Array, Array, Array]:
    """The joints of each person; 0 where one is missing."""

    def gather(
        member: Int[Array, "M K"],
        points: Float[Array, "K N 2"],
        values: Float[Array, "K N"],
    ) -> tuple[Array, Array]:
        kind, found = jnp.arange(member.shape[1]), member >= 0
        joints = jnp.where(found[..., None], points[kind, member], 0)
        return joints, jnp.where(found, values[kind, member], 0)

    joints, joint_values = jax.vmap(gather)(member, adjusted, values)
    return joints, joint_values, jnp.mean(joint_values, axis=-1)


def _refine(
    config: HigherHRNetConfig,
    _: Variables,
    joints: Array,
    values: Array,
    member: Array,
    tags: Array,
    valid: Array,
    heat_planes: Array,
    tag_planes: Array,
    sizes: Array | None,
) -> tuple[Array, Array]:
    """Look for missing joints where tags are near to their person's (step 8)."""
    if not config.refine:
        return joints, values
    batch, people, types = member.shape
    image, _, kind = jnp.indices(member.shape, dtype=jnp.int32)
    means = jnp.repeat(jax.vmap(_mean_tags)(member, tags)[:, :, None], types, axis=2)
    missing = valid[..., None] & (member < 0)

    def find(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        image, kind, mean = row
        size = None if sizes is None else sizes[image]
        return _find_joint(
            heat_planes[image, kind], tag_planes[image, kind], mean, size
        )

    rows = jax.tree.map(
        lambda x: x.reshape(batch * people * types, *x.shape[3:]), (image, kind, means)
    )
    chunk = config.joints_per_step * batch
    points, found = map_valid(jax.vmap(find), rows, missing.ravel(), chunk=chunk)
    points, found = points.reshape(joints.shape), found.reshape(values.shape)
    filled = missing & (found > 0)
    return (
        jnp.where(filled[..., None], points, joints),
        jnp.where(filled, found, values),
    )


def _mean_tags(
    member: Int[Array, "M K"], tags: Float[Array, "K N T"]
) -> Float[Array, "M T"]:
    """The mean tag of each person's joints."""
    found = member >= 0
    own = jnp.where(found[..., None], tags[jnp.arange(len(tags)), member], 0)
    return jnp.sum(own, axis=1) / jnp.maximum(jnp.sum(found, axis=1), 1)[:, None]


def _find_joint(
    heatmap: Float[Array, "H W"],
    tags: Float[Array, "T H W"],
    mean: Float[Array, " T"],
    valid_size: Int[Array, "2"] | None,
) -> tuple[Float[Array, "2"], Float[Array, ""]]:
    """The best place of a joint for a mean tag, and the heatmap's value there."""
    # Not `jnp.sum`, with which a CPU takes 30 times as long.
    squares = [jnp.square(tags[i] - mean[i]) for i in range(len(mean))]
    score = heatmap - jnp.round(jnp.sqrt(sum(squares[1:], start=squares[0])))
    if valid_size is not None:
        inside: Bool[Array, "H W"] = valid_mask(valid_size, *heatmap.shape)
        score = jnp.where(inside, score, -jnp.inf)
    # The first in row order; a CPU takes long for `argmax` of all at once.
    y = jnp.argmax(jnp.max(score, axis=1))
    x = jnp.argmax(score[y])
    pixel = jnp.stack([x, y]).astype(jnp.int32)
    return quarter_shift(heatmap, pixel, valid_size), heatmap[y, x]


def _make_poses(
    _: Variables, joints: Array, values: Array, scores: Array, valid: Array
) -> tuple[dict[str, Poses]]:
    """Reference behaviour: a joint that was found has score 1."""
    found = jnp.where(values > 0, 1.0, 0.0)
    return ({"higherhrnet": Poses(joints, found, scores, valid)},)


def explain(config: HigherHRNetConfig, variables: Variables, view: View) -> Explanation:
    """Find people as `predict` does, and keep heatmaps and tags.

    Layer `tags` has a channel, hence a color, per whole tag modulo 8: a heatmap of the
    keypoints whose tags are near to it. What has one color may be one person.
    """
    wanted = ("outputs", "half", "half_tags")
    arrays = run_stages(make_stages(config), variables, vars(view), wanted)
    count, half = config.skeleton.num_keypoints, arrays["half"]
    names = config.skeleton.keypoints
    tags = tag_colors(half[..., :count], arrays["half_tags"][..., :count, 0])
    layers = {
        "heatmaps": MapLayer(half[..., :count], names, _CELLS),
        "tags": MapLayer(tags, tuple(f"tag_{i}" for i in range(COLORS)), _CELLS),
    }
    if config.center:
        layers["centers"] = MapLayer(half[..., count:], ("pose centre",), _CELLS)
    return Explanation(arrays["outputs"], layers)


def tag_colors(
    heatmaps: Float[Array, "*cells K"], tags: Float[Array, "*cells K"]
) -> Float[Array, "*cells D"]:
    """The largest heatmap value of each color, shared out to the two nearest ones."""
    offset = (tags[..., None] - jnp.arange(COLORS)) % COLORS
    share = jnp.maximum(1 - jnp.minimum(offset, COLORS - offset), 0)
    return jnp.max(heatmaps[..., None] * share, axis=-2)
