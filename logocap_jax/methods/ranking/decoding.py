"""From heatmaps and pose maps to poses: the named stages (specification, 8)."""

from collections import OrderedDict
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.inference import absorption, pose_nms
from logocap_jax.inference.gaussian_fit import Fit, fit_gaussian
from logocap_jax.methods import pose_map
from logocap_jax.methods.base import Stage, Variables
from logocap_jax.methods.candidates import fuse, largest_value, read_poses
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.structures import Poses

_WEAK = 0.01  # values of absorption candidates that do not count
_REFINED = 0.05  # keypoints of higher scores are refined


def decode_stages(config: RankingConfig) -> tuple[Stage, ...]:
    """The stages from maps to poses.

    `M` are the candidates: `num_slots` of each scale, those of the largest scale first.

    Returns:
      Stages that read `heatmaps`, `pose_map`, `valid_size` and, with other scales,
      `scaled_maps`. They write the maps of all scales; `centers` (cells of their
      scale), `center_values` (scaled), `center_valid` and `candidates` (input px),
      `[B, M, ...]`; `kept`, `[B, N]`, the candidates after pose NMS, `valid`,
      `regressed` and `center_scores` of them; `fused`, heatmaps in input px; `peaks`
      and `peak_values`, `[B, K, C]`; keypoints and their scores after each step; last
      poses by result set, `unscored` or, if nothing scores them, `outputs`.
    """
    maps = ("all_heatmaps", "valid_size")
    centers, candidates = ("centers", "center_values", "center_valid"), ("candidates",)
    slots = ("kept", "valid", "regressed", "center_scores")
    peaks = ("peaks", "peak_values")
    absorbed, refined = ((name, f"{name}_scores") for name in ("absorbed", "refined"))
    scored = ("regressed", "center_scores", "fused", "valid_size")
    return (
        pose_map.gather_stage(config),
        Stage("centres", maps, centers, partial(_find_centers, config)),
        Stage(
            "candidates",
            ("centers", "all_pose_maps"),
            candidates,
            partial(_read, config),
        ),
        Stage(
            "pose NMS", (*centers[1:], *candidates), slots, partial(_suppress, config)
        ),
        Stage("fused heatmaps", maps, ("fused",), partial(_fuse, config)),
        Stage("peaks", ("fused", "valid_size"), peaks, _find_peaks),
        Stage("absorption", (*scored, *peaks), absorbed, partial(_absorb, config)),
        Stage(
            "refinement",
            (*absorbed, *scored[1:], "valid"),
            refined,
            partial(_refine, config),
        ),
        Stage(
            "regression scores",
            scored,
            ("regression_scores",),
            partial(_score_regressed, config),
        ),
        Stage(
            "result sets",
            ("regressed", "regression_scores", *refined, "valid"),
            ("unscored" if config.scorer else "outputs",),
            _name_sets,
        ),
    )


def _find_centers(
    config: RankingConfig,
    _: Variables,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array, ...]:
    """The centres of all scales, by scaled values."""
    by_scale = zip(config.scales, heatmaps, strict=True)
    center_maps = {scale: maps[..., -1] for scale, maps in by_scale}

    def cells(scale: float) -> Array | None:
        size = pose_map.scale_size(sizes, scale)
        return None if size is None else size // config.cells.stride

    largest = {
        scale: jax.vmap(largest_value)(maps, cells(scale))[:, None, None]
        for scale, maps in center_maps.items()
    }
    found = []
    for scale, maps in center_maps.items():
        factor = 1.0 if scale == 1 else config.scale_factor
        scaled_maps = factor * maps / largest[scale] * largest[1.0]
        find = partial(
            pose_map.find_centers,
            count=config.num_slots,
            threshold=factor * config.center_threshold,
        )
        found.append(jax.vmap(find)(scaled_maps, cells(scale)))
    return tuple(jnp.concatenate(arrays, axis=1) for arrays in zip(*found, strict=True))


def _read(
    config: RankingConfig, _: Variables, centers: Array, poses: tuple[Array, ...]
) -> tuple[Array]:
    maps = dict(zip(config.scales, poses, strict=True))
    return (read_poses(maps, centers, stride=config.cells.stride),)


def _suppress(
    config: RankingConfig, _: Variables, values: Array, valid: Array, candidates: Array
) -> tuple[Array, ...]:
    """Pose NMS by centre value."""

    def suppress(
        candidates: Float[Array, "M K 2"],
        values: Float[Array, " M"],
        valid: Bool[Array, " M"],
    ) -> tuple[Int[Array, " N"], Bool[Array, " N"], Array, Array]:
        poses = Poses(candidates, jnp.zeros(candidates.shape[:2]), values, valid)
        near = pose_nms.coincide(
            poses, distance=config.nms_distance, matches=config.matches
        )
        order, kept = pose_nms.select(near, values)
        chosen, valid = pose_nms.keep_best(order, kept, values, config.num_slots)
        return chosen, valid, candidates[chosen], values[chosen]

    return jax.vmap(suppress)(candidates, values, valid)


def _fuse(
    config: RankingConfig,
    _: Variables,
    heatmaps: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[Array]:
    by_scale = zip(config.scales, heatmaps, strict=True)
    keypoints = {scale: maps[..., :-1] for scale, maps in by_scale}
    return (fuse(keypoints, sizes, stride=config.cells.stride),)


def _find_peaks(_: Variables, fused: Array, sizes: Array | None) -> tuple[Array, Array]:
    return jax.vmap(absorption.find_candidates)(fused, sizes)


def _absorb(
    config: RankingConfig,
    _: Variables,
    regressed: Array,
    center_scores: Array,
    fused: Array,
    sizes: Array | None,
    peaks: Array,
    peak_values: Array,
) -> tuple[Array, Array]:
    """Keypoints at the nearest peaks; centre times heat value."""
    absorb = partial(absorption.absorb, threshold=_WEAK, quirks=config.quirks)
    candidates = absorption.Candidates(peaks, peak_values)
    absorbed = jax.vmap(absorb)(regressed, fused, candidates, sizes)
    return absorbed.keypoints, center_scores[..., None] * absorbed.values


def _refine(
    config: RankingConfig,
    _: Variables,
    absorbed: Array,
    scores: Array,
    center_scores: Array,
    fused: Array,
    sizes: Array | None,
    valid: Array,
) -> tuple[Array, Array]:
    """Keypoints at the middle of a Gaussian; centre times its amplitude."""
    kinds = jnp.arange(absorbed.shape[2])

    def fit(maps: Array, points: Array, wanted: Array, size: Array | None) -> Fit:
        fit = partial(fit_gaussian, valid_size=size, quirks=config.quirks)
        of_pose = jax.vmap(fit, (None, 0, 0, 0))
        return jax.vmap(of_pose, (None, None, 0, 0))(maps, kinds, points, wanted)

    wanted = (scores > _REFINED) & valid[..., None]
    fits = jax.vmap(fit)(fused, absorbed, wanted, sizes)
    amplitude = center_scores[..., None] * fits.amplitude
    return (
        jnp.where(fits.converged[..., None], fits.center, absorbed),
        jnp.where(fits.converged, amplitude, scores),
    )


def _score_regressed(
    config: RankingConfig,
    _: Variables,
    regressed: Array,
    center_scores: Array,
    fused: Array,
    sizes: Array | None,
) -> tuple[Array]:
    """Centre times heat value, bilinear; 0 outside.

    Reference behaviour: positions are cut to whole pixels towards 0, so that the maps
    are extrapolated by up to a pixel before their first row and column; `fixed`: they
    are 0 there.
    """
    lower_of = jnp.trunc if config.is_reference else jnp.floor

    def read(points: Array, maps: Array, size: Array | None) -> Array:
        limits = jnp.asarray(maps.shape[:2] if size is None else size)[::-1]
        lower, kinds = lower_of(points), jnp.arange(points.shape[1])
        inside = jnp.all((lower >= 0) & (lower + 1 < limits), axis=-1)
        x, y = jnp.moveaxis(lower.astype(jnp.int32), -1, 0)
        share_x, share_y = jnp.moveaxis(points - lower, -1, 0)
        upper = maps[y, x, kinds] * (1 - share_x) + maps[y, x + 1, kinds] * share_x
        y = y + 1
        under = maps[y, x, kinds] * (1 - share_x) + maps[y, x + 1, kinds] * share_x
        return jnp.where(inside, upper * (1 - share_y) + under * share_y, 0)

    return (center_scores[..., None] * jax.vmap(read)(regressed, fused, sizes),)


def _name_sets(
    _: Variables,
    regressed: Array,
    regression_scores: Array,
    refined: Array,
    refined_scores: Array,
    valid: Array,
) -> tuple[dict[str, Poses]]:
    """Result sets; unlike a dict's, an OrderedDict's order survives `jit`."""

    def make(keypoints: Array, scores: Array, initial: Array | None) -> Poses:
        return Poses(keypoints, scores, jnp.mean(scores, axis=-1), valid, initial)

    return (
        OrderedDict(
            regression=make(regressed, regression_scores, None),
            ranking=make(refined, refined_scores, regressed),
        ),
    )
