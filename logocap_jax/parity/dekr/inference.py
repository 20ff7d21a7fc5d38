"""One image through DEKR's test path, stage by stage, against the reference."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import Variables
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.network import UNITS
from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.ops.peaks import local_maxima
from logocap_jax.parity.cases import read_arrays
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.layout import Entry, Layout, channels_last
from logocap_jax.parity.pose_map_cases import (
    Case,
    check_all_centers,
    map_last,
    pad_slots,
    read_case,
    rows_of_slots,
    test_options,
)
from logocap_jax.parity.walk import StageWalker
from logocap_jax.structures import Poses
from logocap_jax.weights.containers import errors_naming

LAYOUT: Layout = {
    "heatmaps_raw": Entry("R K1 h w", channels_last),
    "heatmap_in": Entry("C h w", map_last),
    "heatmap_block": Entry("C h w", map_last),
    "pose_heat_score": Entry("n", required=True),
    "nms_keep": Entry("m", required=True),
    "poses_nms": Entry("f K 3", required=True),
    "scores_before": Entry("f", required=True),
    "final_keypoints": Entry("f K 3", required=True),
    "final_scores": Entry("f", required=True),
    "rescore_feature": Entry("f F"),
    "predicted_oks": Entry("f"),
}
_TOLERANCE = 1e-5  # of the largest value
# Input px: a fit that ends farther than this from its start is ill-posed, and may end
# elsewhere where float noise says so; others meet the reference's.
_NEAR, _MET = 3.0, 5e-4
# Arrays of an adaptive unit: ours, and the axis of their channels.
_UNIT = {
    "T": ("transform", "4"),
    "t": ("shift", "2"),
    "conv": ("convolved", "U"),
    "out": ("output", "U"),
}

Maps = dict[str, Any]


def check_inference(
    path: pathlib.Path,
    config: DekrConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare every stage, end to end and alone, with the arrays of a case.

    Args:
      path: of the case.
      config: settings of the model; options of the test follow from the case.
      variables: of the model.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    with errors_naming(path):
        options = test_options(path, read_arrays(path), config)
        config = dataclasses.replace(config, **options)
    case = read_case(path, {**LAYOUT, **_unit_layout(config)}, config)
    return _Check(case, config, variables, marks).run()


def _unit_layout(config: DekrConfig) -> Layout:
    """The arrays of any adaptive unit that a case may hold."""
    return {
        f"kpt{k}_block{unit}_{name}": Entry(f"{channels} h w", map_last)
        for k in range(config.skeleton.num_keypoints)
        for unit in range(UNITS)
        for name, (_, channels) in _UNIT.items()
    }


class _Check:
    """Steps of one check; each adds its results to the comparison."""

    def __init__(
        self, case: Case, config: DekrConfig, variables: Variables, marks: bool
    ) -> None:
        self._case, self._arrays, self._config = case, case.arrays, config
        self._compare = Comparison(case.name, marks=marks)
        self._walk = StageWalker(make_stages(config), variables)

    def run(self) -> list[StageResult]:
        found, noisy = self._dense(1.0), self._dense(rounding_noise)
        self._check_dense(found, noisy)
        centers = self._centers(found, noisy, "input")
        slots = self._slots(found | centers, "input")
        self._poses(found | slots, "input")
        self._alone()
        return self._compare.results

    def _dense(self, noise: Any) -> Maps:
        """All dense arrays from the inputs, which noise changes."""
        inputs = {
            scale: image * (noise(image.shape) if callable(noise) else noise)
            for scale, image in self._case.inputs.items()
        }
        others = tuple(inputs[scale] for scale in self._config.other_scales)
        given = {"input": inputs[1.0], "scaled_input": others, "valid_size": None}
        names = ("inputs", "heatmaps_raw", "heatmap_input", "heatmap_block", "units")
        scaled = ("scaled_maps",) if others else ()
        maps = ("heatmaps", "pose_map", "fused", *scaled)
        return self._start() | self._walk(given, *names, *maps)

    def _start(self) -> Maps:
        return {"valid_size": None, "input_to_image": self._case.to_image}

    def _by_scale(self, maps: Maps, which: int) -> dict[float, np.ndarray]:
        """Heatmaps (0) or pose maps (1) by scale."""
        main = (maps["heatmaps"], maps["pose_map"])
        scaled = maps.get("scaled_maps", ())
        both = dict(zip(self._config.other_scales, scaled, strict=True)) | {1.0: main}
        return {scale: np.asarray(both[scale][which]) for scale in self._case.scales}

    def _check_dense(self, found: Maps, noisy: Maps) -> None:
        """Compare the arrays of the network, and the averaged ones."""
        edge = "input_mirror_right_edge"
        if edge in self._arrays and self._config.flip_test:
            width = self._arrays[edge].shape[2]
            self._relative(
                "mirror image, right edge",
                found["inputs"][1:, :, -width:],
                self._arrays[edge],
                "input",
            )
        for name, stage in (
            ("heatmaps_raw", "heatmaps_raw"),
            ("heatmap_in", "heatmap_input"),
            ("heatmap_block", "heatmap_block"),
        ):
            if name in self._arrays:
                rows = slice(len(self._arrays[name]))
                arrays = (found[stage][rows], self._arrays[name])
                self._relative(name, *arrays, "input", noisy[stage][rows])
        self._check_units(found, noisy)
        for which, (label, expected) in enumerate(
            (("heatmaps", self._case.heatmaps), ("pose map", self._case.pose_maps))
        ):
            ours, theirs = self._by_scale(found, which), self._by_scale(noisy, which)
            for scale, array in expected.items():
                name = label if scale == 1 else f"{label}, scale {scale:g}"
                self._relative(name, ours[scale], array, "input", theirs[scale])
        self._fused(found, "input", noisy)

    def _check_units(self, found: Maps, noisy: Maps) -> None:
        """Compare the shown arrays of adaptive units."""
        for name in self._arrays:
            if not name.startswith("kpt"):
                continue
            kind, block, field = name.split("_")
            k, unit = int(kind.removeprefix("kpt")), int(block.removeprefix("block"))
            ours, theirs = (
                self._branch(getattr(maps["units"][unit], _UNIT[field][0]), k)
                for maps in (found, noisy)
            )
            self._relative(name, ours, self._arrays[name], "input", theirs)

    def _branch(self, array: Any, k: int) -> np.ndarray:
        """The image's array of one branch, `[1, h, w, C]`."""
        count = self._config.skeleton.num_keypoints
        array = np.asarray(array[:1])
        return array.reshape(*array.shape[:3], count, -1)[..., k, :]

    def _fused(self, found: Maps, fed_with: str, noisy: Maps | None = None) -> None:
        if "fused" in self._arrays:
            shown = self._arrays["shown_fused"]
            ours, theirs = (
                None if maps is None else np.asarray(maps["fused"])[..., shown]
                for maps in (found, noisy)
            )
            self._relative("fused", ours, self._arrays["fused"], fed_with, theirs)

    def _centers(self, found: Maps, noisy: Maps, fed_with: str) -> Maps:
        maps = {scale: x[0, ..., -1] for scale, x in self._by_scale(found, 0).items()}
        noise = {scale: x[0, ..., -1] for scale, x in self._by_scale(noisy, 0).items()}
        return check_all_centers(
            self._compare, self._case, self._config, maps, noise, fed_with=fed_with
        )

    def _slots(self, given: Maps, fed_with: str) -> Maps:
        """Compare what is read at the centres."""
        found = self._walk(given, "candidates")
        valid = np.asarray(given["center_valid"][0])
        self._compare.keypoints(
            "candidates",
            np.asarray(found["candidates"][0])[valid],
            self._arrays["poses_regressed"],
            fed_with=fed_with,
        )
        return {**given, **found}

    def _poses(self, given: Maps, fed_with: str) -> None:
        """Compare all that follows candidates."""
        found = self._walk(given, "heat", "kept", "valid", "poses")
        slots = np.asarray(given["center_valid"][0])
        heat = np.asarray(found["heat"][0]).mean(axis=-1)[slots]
        self._relative("pose heat", heat, self._arrays["pose_heat_score"], fed_with)
        kept = np.asarray(found["kept"][0])[np.asarray(found["valid"][0])]
        self._compare.absolute(
            "kept by NMS",
            np.array(rows_of_slots(slots, kept.tolist())),
            self._kept(),
            tolerance=0.0,
            fed_with=fed_with,
        )
        self._scored("poses after NMS", found["poses"], "poses_nms", fed_with)
        self._final({**given, **found}, fed_with)

    def _kept(self) -> np.ndarray:
        """The reference's rows after NMS; of too many the hottest, in that order."""
        kept, slots = self._arrays["nms_keep"], self._config.num_slots
        if len(kept) <= slots:
            return kept
        order = np.argsort(-self._arrays["pose_heat_score"][kept], kind="stable")
        return kept[order[:slots]]

    def _scored(self, stage: str, poses: Poses, name: str, fed_with: str) -> None:
        valid = np.asarray(poses.valid[0])
        expected = self._arrays[name]
        points = np.asarray(poses.keypoints[0])[valid]
        self._compare.keypoints(stage, points, expected, fed_with=fed_with)
        scores = np.asarray(poses.keypoint_scores[0])[valid]
        self._relative("keypoint scores", scores, expected[..., 2], fed_with)
        self._relative(
            "scores before the scorer",
            np.asarray(poses.scores[0])[valid],
            self._arrays["scores_before"],
            fed_with,
        )

    def _final(self, given: Maps, fed_with: str) -> None:
        """Compare final poses in image px; distances count in input px."""
        scorer = ("pose_features", "predicted_oks") if self._config.scorer else ()
        found = self._walk(given, "outputs", *scorer)
        poses = found["outputs"]["dekr"]
        valid = np.asarray(poses.valid[0])
        points = to_image(np.asarray(poses.keypoints[0])[valid], self._case.to_image[0])
        expected = self._arrays["final_keypoints"]
        unit = float(np.sqrt(np.linalg.det(self._arrays["affine"][:, :2])))
        kept = np.ones(points.shape[:2], bool)
        if self._config.matching and points.shape == expected[..., :2].shape:
            kept = self._well_posed(given, points, unit)
        note = f"{np.sum(~kept)} ties or ill-posed fits" if not kept.all() else ""
        whole = slice(None)
        if note:
            points, expected = points[kept][:, None], expected[kept][:, None]
            whole = kept.all(axis=1)
        self._compare.keypoints(
            "final keypoints", points, expected, fed_with=fed_with, unit=unit, note=note
        )
        if not scorer:
            return
        for stage, name, array in (
            ("features", "rescore_feature", found["pose_features"]["dekr"]),
            ("predicted OKS", "predicted_oks", found["predicted_oks"]["dekr"]),
            ("final scores", "final_scores", poses.scores),
        ):
            if name in self._arrays:
                rows = np.asarray(array[0])[valid][whole]
                self._relative(stage, rows, self._arrays[name][whole], fed_with)

    def _well_posed(self, given: Maps, points: np.ndarray, unit: float) -> np.ndarray:
        """Mask of the keypoints that matching must move as the reference does.

        Others differ from it and were absorbed by a pixel that is no peak (any such
        pixel may do), or are where a fit ended far from its start.
        """
        found = self._walk(given, "absorbed_poses", "fused")
        poses = found["absorbed_poses"]
        start = np.asarray(poses.keypoints[0])[np.asarray(poses.valid[0])]
        maxima = jax.vmap(local_maxima, (2, None), 2)(found["fused"][0, ..., :-1], 5)
        x, y = start.astype(int).clip(0, np.array(maxima.shape[1::-1]) - 1).T
        peaks = np.asarray(maxima)[y.T, x.T, np.arange(start.shape[1])] > 0
        expected = self._arrays["final_keypoints"][..., :2]
        differs = np.abs(points - expected).max(axis=-1) * unit > _MET
        moved = to_image(start, self._case.to_image[0]) - expected
        far = np.linalg.norm(moved, axis=-1) * unit > _NEAR
        return ~differs | (peaks & ~far)

    def _alone(self) -> None:
        """Compare stages by themselves, from the reference's arrays."""
        case, slots = self._case, self._config.num_slots
        start = self._start()
        if set(case.heatmaps) == set(case.pose_maps) == set(case.scales):
            start = maps = self._reference_maps()
            self._fused(self._walk(maps, "fused"), "heatmaps")
            centers = self._centers(maps, maps, "heatmaps")
            self._slots(maps | centers, "heatmaps, posemap")
            values = pad_slots(case, self._arrays["centers_score"], slots)
            rows = {
                "candidates": pad_slots(case, self._arrays["poses_regressed"], slots),
                "center_values": values,
                "center_valid": values > 0,
            }
            self._poses(maps | rows, "heatmaps, poses_regressed")
        if not self._config.matching or "heatmaps" in start:
            self._final(start | {"poses": self._reference_poses()}, "poses_nms")

    def _reference_maps(self) -> Maps:
        heatmaps, poses = self._case.heatmaps, self._case.pose_maps
        others = [(heatmaps[s], poses[s]) for s in self._config.other_scales]
        scaled = {"scaled_maps": tuple(others)} if others else {}
        return {
            **self._start(),
            "heatmaps": heatmaps[1.0],
            "pose_map": poses[1.0],
            **scaled,
        }

    def _reference_poses(self) -> Poses:
        """The reference's own poses after NMS, in all slots."""
        rows, slots = self._arrays["poses_nms"], self._config.num_slots
        fill = (0, slots - len(rows))
        rows = np.pad(rows, (fill, (0, 0), (0, 0)))[None]
        scores = np.pad(self._arrays["scores_before"].astype(np.float32), fill)[None]
        valid = np.arange(slots)[None] < slots - fill[1]
        arrays = (rows[..., :2], rows[..., 2], scores, valid)
        return Poses(*map(jax.numpy.asarray, arrays))

    def _relative(
        self, stage: str, found: Any, expected: Any, fed_with: str, noisy: Any = None
    ) -> None:
        self._compare.relative(
            stage,
            np.asarray(found, np.float32),
            expected,
            tolerance=_TOLERANCE,
            fed_with=fed_with,
            noisy=None if noisy is None else np.asarray(noisy, np.float32),
        )
