"""One image through DEKR's test path, stage by stage, against the reference."""

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
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.layout import Entry, Layout, channels_last
from logocap_jax.parity.pose_map_cases import (
    map_last,
    pad_slots,
    read_case,
    rows_of_slots,
)
from logocap_jax.parity.pose_map_check import Maps, PoseMapCheck, with_options
from logocap_jax.structures import Poses

LAYOUT: Layout = {
    "heatmaps_raw": Entry("R K1 h1 w1", channels_last),
    "heatmap_in": Entry("C h1 w1", map_last),
    "heatmap_block": Entry("C h1 w1", map_last),
    "pose_heat_score": Entry("n", required=True),
    "nms_keep": Entry("m", required=True),
    "poses_nms": Entry("f K 3", required=True),
    "scores_before": Entry("f", required=True),
    "final_keypoints": Entry("f K 3", required=True),
    "final_scores": Entry("f", required=True),
    "rescore_feature": Entry("f F"),
    "predicted_oks": Entry("f"),
}
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
    config = with_options(path, config)
    case = read_case(path, {**LAYOUT, **_unit_layout(config)}, config)
    return _Check(case, config, make_stages(config), variables, marks).run()


def _unit_layout(config: DekrConfig) -> Layout:
    """The arrays of any adaptive unit that a case may hold."""
    return {
        f"kpt{k}_block{unit}_{name}": Entry(f"{channels} h1 w1", map_last)
        for k in range(config.skeleton.num_keypoints)
        for unit in range(UNITS)
        for name, (_, channels) in _UNIT.items()
    }


class _Check(PoseMapCheck):
    """Steps of one check; each adds its results to the comparison."""

    config: DekrConfig

    def run(self) -> list[StageResult]:
        raw = ("heatmaps_raw", "heatmap_input", "heatmap_block")
        found, noisy = self.dense(*raw, "units")
        self.check_edge(found)
        names = ("heatmaps_raw", "heatmap_in", "heatmap_block")
        for name, stage in zip(names, raw, strict=True):
            self.check_raw(name, found[stage], noisy[stage])
        self._check_units(found, noisy)
        self.check_maps(found, noisy)
        given = found | self.check_centers(found, noisy, "input")
        self._poses(self.check_candidates(given, "input"), "input")
        self._alone()
        return self.compare.results

    def _check_units(self, found: Maps, noisy: Maps) -> None:
        """Compare the shown arrays of adaptive units."""
        for name in self.arrays:
            if not name.startswith("kpt"):
                continue
            kind, block, field = name.split("_")
            k, unit = int(kind.removeprefix("kpt")), int(block.removeprefix("block"))
            ours, theirs = (
                self._branch(getattr(maps["units"][unit], _UNIT[field][0]), k)
                for maps in (found, noisy)
            )
            self.check_raw(name, ours, theirs)

    def _branch(self, array: Any, k: int) -> np.ndarray:
        """The image's array of one branch, `[1, h, w, C]`."""
        count = self.config.skeleton.num_keypoints
        array = np.asarray(array[:1])
        return array.reshape(*array.shape[:3], count, -1)[..., k, :]

    def _poses(self, given: Maps, fed_with: str) -> None:
        """Compare all that follows candidates."""
        found = self.walk(given, "heat", "kept", "valid", "poses")
        slots = np.asarray(given["center_valid"][0])
        heat = np.asarray(found["heat"][0]).mean(axis=-1)[slots]
        self.relative("pose heat", heat, self.arrays["pose_heat_score"], fed_with)
        kept = np.asarray(found["kept"][0])[np.asarray(found["valid"][0])]
        self.compare.absolute(
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
        kept, slots = self.arrays["nms_keep"], self.config.num_slots
        if len(kept) <= slots:
            return kept
        order = np.argsort(-self.arrays["pose_heat_score"][kept], kind="stable")
        return kept[order[:slots]]

    def _scored(self, stage: str, poses: Poses, name: str, fed_with: str) -> None:
        valid = np.asarray(poses.valid[0])
        expected = self.arrays[name]
        points = np.asarray(poses.keypoints[0])[valid]
        self.compare.keypoints(stage, points, expected, fed_with=fed_with)
        scores = np.asarray(poses.keypoint_scores[0])[valid]
        self.relative("keypoint scores", scores, expected[..., 2], fed_with)
        self.relative(
            "scores before the scorer",
            np.asarray(poses.scores[0])[valid],
            self.arrays["scores_before"],
            fed_with,
        )

    def _final(self, given: Maps, fed_with: str) -> None:
        """Compare final poses in image px; distances count in input px."""
        scorer = ("pose_features", "predicted_oks") if self.config.scorer else ()
        found = self.walk(given, "outputs", *scorer)
        poses = found["outputs"]["dekr"]
        valid = np.asarray(poses.valid[0])
        points = to_image(np.asarray(poses.keypoints[0])[valid], self.case.to_image[0])
        expected = self.arrays["final_keypoints"]
        unit = float(np.sqrt(np.linalg.det(self.arrays["affine"][:, :2])))
        kept = np.ones(points.shape[:2], bool)
        if self.config.matching and points.shape == expected[..., :2].shape:
            kept = self._well_posed(given, points, unit)
        note = f"{np.sum(~kept)} ties or ill-posed fits" if not kept.all() else ""
        whole: Any = slice(None)
        if note:
            points, expected = points[kept][:, None], expected[kept][:, None]
            whole = kept.all(axis=1)
        self.compare.keypoints(
            "final keypoints", points, expected, fed_with=fed_with, unit=unit, note=note
        )
        if not scorer:
            return
        for stage, name, array in (
            ("features", "rescore_feature", found["pose_features"]["dekr"]),
            ("predicted OKS", "predicted_oks", found["predicted_oks"]["dekr"]),
            ("final scores", "final_scores", poses.scores),
        ):
            if name in self.arrays:
                rows = np.asarray(array[0])[valid][whole]
                self.relative(stage, rows, self.arrays[name][whole], fed_with)

    def _well_posed(self, given: Maps, points: np.ndarray, unit: float) -> np.ndarray:
        """Mask of the keypoints that matching must move as the reference does.

        Others differ from it and were absorbed by a pixel that is no peak (any such
        pixel may do), or are where a fit ended far from its start.
        """
        found = self.walk(given, "absorbed_poses", "fused")
        poses = found["absorbed_poses"]
        start = np.asarray(poses.keypoints[0])[np.asarray(poses.valid[0])]
        maxima = jax.vmap(local_maxima, (2, None), 2)(found["fused"][0, ..., :-1], 5)
        x, y = start.astype(int).clip(0, np.array(maxima.shape[1::-1]) - 1).T
        peaks = np.asarray(maxima)[y.T, x.T, np.arange(start.shape[1])] > 0
        expected = self.arrays["final_keypoints"][..., :2]
        differs = np.abs(points - expected).max(axis=-1) * unit > _MET
        moved = to_image(start, self.case.to_image[0]) - expected
        far = np.linalg.norm(moved, axis=-1) * unit > _NEAR
        return ~differs | (peaks & ~far)

    def _alone(self) -> None:
        """Compare stages by themselves, from the reference's arrays."""
        case, slots = self.case, self.config.num_slots
        maps = self.reference_maps()
        if maps is not None:
            self.check_fused(self.walk(maps, "fused"), "heatmaps")
            centers = self.check_centers(maps, maps, "heatmaps")
            self.check_candidates(maps | centers, "heatmaps, posemap")
            values = pad_slots(case, self.arrays["centers_score"], slots)
            rows = {
                "candidates": pad_slots(case, self.arrays["poses_regressed"], slots),
                "center_values": values,
                "center_valid": values > 0,
            }
            self._poses(maps | rows, "heatmaps, poses_regressed")
        if not self.config.matching or maps is not None:
            start = self.start() if maps is None else maps
            self._final(start | {"poses": self._reference_poses()}, "poses_nms")

    def _reference_poses(self) -> Poses:
        """The reference's own poses after NMS, in all slots."""
        rows = self.padded(self.arrays["poses_nms"])
        scores = self.padded(self.arrays["scores_before"].astype(np.float32))
        valid = self.padded(np.ones(len(self.arrays["poses_nms"]), bool))
        arrays = (rows[..., :2], rows[..., 2], scores, valid)
        return Poses(*map(jax.numpy.asarray, arrays))
