"""DEKR at test time: its named stages, and the functions built from them."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.inference import absorption, pose_nms
from logocap_jax.inference.gaussian_fit import fit_gaussian
from logocap_jax.methods import initial_poses, pose_map
from logocap_jax.methods.base import (
    Explanation,
    Stage,
    Variables,
    subtree,
)
from logocap_jax.methods.candidates import cells_at_one, fuse, point_layers, read_poses
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.heat import HEAT_READERS
from logocap_jax.methods.dekr.network import DekrNetwork
from logocap_jax.methods.scorer import describe_poses, predict_oks, scoring_stage
from logocap_jax.methods.selector import confidence_stage, read_windows
from logocap_jax.methods.stages import run_stages
from logocap_jax.structures import Poses, View

LEAST_FITTED = 0.05  # a Gaussian is fitted to keypoints with a score above it


def make_stages(config: DekrConfig) -> tuple[Stage, ...]:
    """The named stages, from images to poses after pose NMS and scoring.

    `M` are the candidates: `num_slots` of each scale, those of the largest scale first.

    Returns:
      Stages that write `heatmaps_raw`, `offsets_raw` and the other arrays of
      `HeadMaps`, of image and mirror image; `heatmaps` and `pose_map`, averaged;
      `centers` (cells of their scale), `center_values` and `center_valid`,
      `candidates` (input px), `center_scores` and `heat`, `[B, M, ...]`; `fused`,
      heatmaps in input px; `kept`, `[B, N]`, the candidates after pose NMS, and
      `valid`; `poses`; last `outputs`, poses by result set.
    """
    poses = ("matched_poses" if config.matching else "poses",)
    scores_last = config.scorer and not config.rules.score_first
    named = "unscored" if scores_last else "outputs"
    stages = (
        *_map_stages(config),
        *_candidate_stages(config),
        *_matching_stages(config),
        Stage("result sets", poses, (named,), lambda _, poses: ({"dekr": poses},)),
    )
    return (*stages, scoring_stage(config)) if scores_last else stages


def _map_stages(config: DekrConfig) -> tuple[Stage, ...]:
    """The stages from images to heatmaps and pose maps of all scales."""
    network, rules = config.network(), config.rules
    head_maps = ("heatmaps_raw", "offsets_raw", "heatmap_input", "heatmap_block")
    selector = ("selector_raw",) if config.selector else ()
    stages = (
        *pose_map.input_stages(
            config, repeat_border=config.is_reference, shifts=(rules.mirror_shift,)
        ),
        initial_poses.backbone_stage(network),
        Stage(
            "heads",
            ("features", "input_sizes"),
            (*head_maps, "units", *selector),
            partial(_heads, network, bool(selector)),
        ),
        *((confidence_stage(config),) if config.selector else ()),
        pose_map.flip_stage(
            config, heatmap_shift=rules.heatmap_shift, pose_shift=rules.pose_shift
        ),
    )
    return (*stages, *pose_map.scale_stages(stages, config))


def _candidate_stages(config: DekrConfig) -> tuple[Stage, ...]:
    """The stages from maps to poses."""
    maps = ("all_heatmaps", "valid_size")
    values = ("center_values", "center_valid")
    slots = ("candidates", "heat", "center_valid")
    scores_first = config.scorer and config.rules.score_first
    scores = ("scored_centers" if scores_first else "center_scores",)
    scoring = (*slots[:2], "center_scores")
    kept = ("kept", "valid")

    def stage(
        name: str, reads: tuple[str, ...], writes: tuple[str, ...], run: Any
    ) -> Stage:
        return Stage(name, reads, writes, partial(run, config))

    return (
        pose_map.gather_stage(config),
        stage("centres", maps, ("centers", *values), _find_centers),
        _read_stage(config, slots[:1]),
        stage("centre scores", values, scoring[2:], _score_centers),
        stage("fused heatmaps", maps, ("fused",), _fuse),
        stage(
            "heat", ("candidates", *maps), ("heat",), HEAT_READERS[config.rules.heat]
        ),
        *(_first_scoring_stages(config, scoring, scores) if scores_first else ()),
        stage("pose NMS", slots, kept, _suppress),
        Stage("poses", (*slots[:2], *scores, *kept), ("poses",), _score),
    )


def _first_scoring_stages(
    config: DekrConfig, reads: tuple[str, ...], writes: tuple[str, ...]
) -> Iterator[Stage]:
    """The scorer before pose NMS: its OKS goes to the values of the centres."""

    def score(
        variables: Variables, candidates: Array, heat: Array, values: Array
    ) -> tuple[Array, ...]:
        features = describe_poses(candidates, heat, config)
        oks = predict_oks(variables, features)
        return values * oks, features, oks

    written = (*writes, "pose_features", "predicted_oks")
    yield Stage("scorer", reads, written, score)


def _matching_stages(config: DekrConfig) -> tuple[Stage, ...]:
    """The stages that move keypoints to peaks of their heatmaps, if asked for."""
    if not config.matching:
        return ()
    reads = ("poses", "fused", "valid_size")
    absorbed, matched = ("absorbed_poses",), ("matched_poses",)
    return (
        Stage("absorption", reads, absorbed, partial(_absorb, config)),
        Stage("Gaussian fit", (*absorbed, *reads[1:]), matched, partial(_fit, config)),
    )


def _heads(
    network: DekrNetwork,
    has_selector: bool,
    variables: Variables,
    features: Array,
    sizes: Array | None,
) -> tuple[Any, ...]:
    dense = subtree(variables, "dense")
    maps = network.apply(dense, features, train=False, valid_size=sizes, part="heads")
    return tuple(maps if has_selector else maps[:-1])  # type: ignore[index,arg-type]


def _find_centers(
    config: DekrConfig,
    _: Variables,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array, ...]:
    """The centres of all scales."""

    def find(center_map: Array, size: Array | None) -> tuple[Array, ...]:
        return pose_map.find_centers(
            center_map,
            None if size is None else size // STRIDE,
            count=config.num_slots,
            threshold=config.center_threshold,
            windows=config.rules.windows,
        )

    found = [
        jax.vmap(find)(maps[..., -1], pose_map.scale_size(sizes, scale))
        for scale, maps in zip(config.scales, heatmaps, strict=True)
    ]
    return tuple(jnp.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))


def _read_stage(config: DekrConfig, writes: tuple[str, ...]) -> Stage:
    """The stage that reads poses at their centres, or where a selector says."""
    if config.selector is None:
        reads = ("centers", "all_pose_maps")
        return Stage("candidates", reads, writes, partial(_read_poses, config))

    def read(
        _: Variables,
        centers: Array,
        maps: Array,
        confidence: Array,
        sizes: Array | None,
    ) -> tuple[Array]:
        # Once more: pose maps hold cells minus offsets.
        offsets = pose_map.to_pose_map(maps)
        radius = config.offset_radius
        return (STRIDE * read_windows(confidence, offsets, centers, sizes, radius),)

    selected = ("centers", "pose_map", "confidence", "valid_size")
    return Stage("candidates", selected, writes, read)


def _read_poses(
    config: DekrConfig, _: Variables, centers: Array, poses: tuple[Array, ...]
) -> tuple[Array]:
    """The poses that the pose maps hold at the centres, in input px of scale 1."""
    return (read_poses(dict(zip(config.scales, poses, strict=True)), centers),)


def _score_centers(
    config: DekrConfig, _: Variables, values: Array, valid: Array
) -> tuple[Array]:
    """Bring the values of other scales to those of scale 1 (specification, 13)."""
    shape = (values.shape[0], len(config.scales), config.num_slots)
    values, valid = values.reshape(shape), valid.reshape(shape)
    largest = jnp.max(jnp.where(valid, values, 0), axis=-1, keepdims=True)
    largest = jnp.where(largest > 0, largest, 1)
    base = config.scales.index(1.0)
    other = values / largest * largest[:, base : base + 1] * config.factor
    at_one = jnp.arange(shape[1])[:, None] == base
    return (jnp.where(at_one, values, other).reshape(values.shape[0], -1),)


def _fuse(
    config: DekrConfig,
    _: Variables,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array]:
    """Heatmaps in input px, the mean of all scales."""
    return (fuse(dict(zip(config.scales, heatmaps, strict=True)), sizes),)


def _suppress(
    config: DekrConfig, _: Variables, candidates: Array, heat: Array, valid: Array
) -> tuple[Array, Array]:
    """Pose NMS by pose heat; of too many poses the hottest, in that order."""

    def suppress(
        candidates: Float[Array, "M K 2"],
        heat: Float[Array, "M K"],
        valid: Bool[Array, " M"],
    ) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
        pose_heat = jnp.mean(heat, axis=-1)
        walk = jnp.arange(len(valid))
        if config.rules.hottest_first:
            walk = jnp.argsort(jnp.where(valid, -pose_heat, jnp.inf))
        visited = Poses(candidates, heat, pose_heat, valid)
        poses = jax.tree.map(lambda array: array[walk], visited)
        near = pose_nms.overlaps(
            poses, closeness=config.closeness, share=config.nms_share
        )
        order, kept = pose_nms.select(near, poses.scores)
        best, valid = pose_nms.keep_best(order, kept, poses.scores, config.num_slots)
        return walk[best], valid

    return jax.vmap(suppress)(candidates, heat, valid)


def _score(
    _: Variables,
    candidates: Array,
    heat: Array,
    center_scores: Array,
    kept: Array,
    valid: Array,
) -> tuple[Poses]:
    def score(candidates: Array, scores: Array, kept: Array, valid: Array) -> Poses:
        scores = scores[kept]
        return Poses(candidates[kept], scores, jnp.mean(scores, axis=-1), valid)

    scores = center_scores[..., None] * heat
    return (jax.vmap(score)(candidates, scores, kept, valid),)


def _absorb(
    config: DekrConfig, _: Variables, poses: Poses, fused: Array, sizes: Array | None
) -> tuple[Poses]:
    """Move keypoints to the nearest peak; scores stay (specification, 13)."""

    def move(keypoints: Array, heatmaps: Array, size: Array | None) -> Array:
        candidates = absorption.find_candidates(heatmaps, size)
        return absorption.absorb(
            keypoints,
            heatmaps,
            candidates,
            size,
            quirks=config.quirks,
        ).keypoints

    keypoints = jax.vmap(move)(poses.keypoints, fused[..., :-1], sizes)
    return (dataclasses.replace(poses, keypoints=keypoints),)


def _fit(
    config: DekrConfig, _: Variables, poses: Poses, fused: Array, sizes: Array | None
) -> tuple[Poses]:
    """Move keypoints to the middle of a Gaussian around them; scores stay."""
    fitted = poses.valid[..., None] & (poses.keypoint_scores > LEAST_FITTED)

    def fit(points: Array, fitted: Array, heatmaps: Array, size: Array | None) -> Array:
        run = partial(
            fit_gaussian,
            heatmaps,
            valid_size=size,
            clip=True,
            quirks=config.quirks,
        )
        channels = jnp.arange(points.shape[1])
        found = jax.vmap(lambda *pose: jax.vmap(run)(channels, *pose))(points, fitted)
        return jnp.where(found.converged[..., None], found.center, points)

    keypoints = jax.vmap(fit)(poses.keypoints, fitted, fused[..., :-1], sizes)
    return (dataclasses.replace(poses, keypoints=keypoints),)


def explain(config: DekrConfig, variables: Variables, view: View) -> Explanation:
    """Find poses as `predict` does, and keep heatmaps and sampled positions.

    Layers `unit0` and `unit1` hold what the adaptive units read for each pose, at scale
    1: the second the 9 positions around the pose's centre, the first the 9 around each
    of those.
    """
    wanted = ("outputs", "heatmaps", "units", "centers", "kept")
    arrays = run_stages(make_stages(config), variables, vars(view), wanted)
    layers = initial_poses.heatmap_layers(
        arrays["heatmaps"], config.skeleton, pose_map.CELLS
    )
    cells = cells_at_one(config, arrays["centers"], arrays["kept"])
    units = {
        f"unit{i}": jax.tree.map(
            lambda x: x[: cells.shape[0]], (unit.transform, unit.shift)
        )
        for i, unit in enumerate(arrays["units"])
    }
    count = config.skeleton.num_keypoints
    return Explanation(
        arrays["outputs"], {**layers, **point_layers(units, cells, count)}
    )
