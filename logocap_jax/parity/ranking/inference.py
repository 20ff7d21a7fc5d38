"""One image through the method's test path, stage by stage, against the reference."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import Variables
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.parity.cases import read_arrays
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.layout import Layout
from logocap_jax.parity.pose_map_cases import (
    Case,
    Finder,
    check_all_centers,
    pad_slots,
    read_case,
    test_options,
)
from logocap_jax.parity.ranking.arrays import DENSE, LAYOUT, block_arrays, fine_layout
from logocap_jax.parity.walk import StageWalker
from logocap_jax.weights.containers import errors_naming

_TOLERANCE = 1e-5  # of the largest value
_CLOSE = 0.01  # input px: as near as keypoints must be
# Input px: a fit that ends farther off than this from its start is ill-posed. It is left
# out where it does not meet the reference's as nearly as others do.
_NEAR, _MET = 3.0, 5e-4
# Result sets and the names of their arrays.
_SETS = {"ranking": ("final", ""), "regression": ("regression", "_regression")}

Maps = dict[str, Any]
Mask = Bool[np.ndarray, "n K"]


def check_inference(
    path: pathlib.Path,
    config: RankingConfig,
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
    layout: Layout = {**LAYOUT, **(fine_layout() if config.fine_hidden else {})}
    case = read_case(path, layout, config, stride=config.cells.stride)
    return _Check(case, config, variables, marks).run()


class _Check:
    """Steps of one check; each adds its results to the comparison."""

    def __init__(
        self, case: Case, config: RankingConfig, variables: Variables, marks: bool
    ) -> None:
        self._case, self._arrays, self._config = case, case.arrays, config
        self._compare = Comparison(case.name, marks=marks)
        self._walk = StageWalker(make_stages(config), variables)
        # More than the reference has, so that a tie that they cut in two is whole.
        many = dataclasses.replace(
            config, num_slots=2 * config.num_slots, test_scales=(1.0,)
        )
        finder = StageWalker(make_stages(many), variables)

        def find(center_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            given = {
                "heatmaps": center_map[None, ..., None],
                "pose_map": None,
                "valid_size": None,
            }
            found = finder(given, "centers", "center_values")
            return np.asarray(found["centers"])[0], np.asarray(found["center_values"])[
                0
            ]

        self._finder = Finder(config, find)

    def run(self) -> list[StageResult]:
        found, noisy = self._dense(1.0), self._dense(rounding_noise)
        self._check_dense(found, noisy)
        given = found | self._centers(found, noisy, "input")
        given |= self._candidates(given, "input")
        self._poses(given, "input")
        if (
            set(self._case.heatmaps)
            == set(self._case.pose_maps)
            == {*self._case.scales}
        ):
            self._alone(self._reference_maps())
        return self._compare.results

    def _dense(self, noise: Any) -> Maps:
        """All dense arrays from the inputs, which noise changes."""
        inputs = {
            scale: image * (noise(image.shape) if callable(noise) else noise)
            for scale, image in self._case.inputs.items()
        }
        others = tuple(inputs[scale] for scale in self._config.other_scales)
        given = {"input": inputs[1.0], "scaled_input": others, "valid_size": None}
        names = ("inputs", *DENSE, "heatmap_blocks", "offset_block")
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
            mirrored = np.asarray(found["inputs"])[1:, :, -width:]
            expected = self._arrays[edge]
            self._relative("mirror image, right edge", mirrored, expected, "input")
        ours, theirs = block_arrays(found), block_arrays(noisy)
        for name in ours:
            if name in self._arrays:
                expected = self._arrays[name]
                rows = slice(len(expected))
                arrays = (ours[name][rows], expected, "input", theirs[name][rows])
                self._relative(name, *arrays)
        for which, (label, maps) in enumerate(
            (("heatmaps", self._case.heatmaps), ("pose map", self._case.pose_maps))
        ):
            by_scale = self._by_scale(found, which), self._by_scale(noisy, which)
            for scale, expected in maps.items():
                name = label if scale == 1 else f"{label}, scale {scale:g}"
                self._relative(
                    name, by_scale[0][scale], expected, "input", by_scale[1][scale]
                )
        self._fused(found, "input", noisy)

    def _fused(self, found: Maps, fed_with: str, noisy: Maps | None = None) -> None:
        """Compare the shown fused heatmaps; decoding fuses those of keypoints."""
        if "fused" not in self._arrays:
            return
        shown = self._arrays["shown_fused"]
        rows = shown < self._config.skeleton.num_keypoints
        ours, theirs = (
            None if maps is None else np.asarray(maps["fused"])[..., shown[rows]]
            for maps in (found, noisy)
        )
        expected = self._arrays["fused"][..., rows]
        self._relative("fused", ours, expected, fed_with, theirs)

    def _centers(self, found: Maps, noisy: Maps, fed_with: str) -> Maps:
        """Compare centres, by the values of their maps; those of slots are scaled."""
        maps, noise = (
            {scale: x[0, ..., -1] for scale, x in self._by_scale(arrays, 0).items()}
            for arrays in (found, noisy)
        )
        factors = self._factors(maps)
        thresholds = {
            scale: self._config.center_threshold / maps[1.0].max() * maps[scale].max()
            for scale in maps
        }
        slots = check_all_centers(
            self._compare,
            self._case,
            self._finder,
            maps,
            noise,
            fed_with=fed_with,
            thresholds=thresholds,
        )
        for scale, place, _ in self._case.scales_of_slots(self._config.num_slots):
            factor, largest = factors[scale]
            values = slots["center_values"][0, place]
            slots["center_values"][0, place] = (
                factor * values / largest * maps[1.0].max()
            )
        return slots

    def _factors(
        self, maps: dict[float, np.ndarray]
    ) -> dict[float, tuple[np.float32, np.float32]]:
        """For each scale its factor, and the largest centre value."""
        other = np.float32(self._config.scale_factor)
        return {
            scale: (np.float32(1) if scale == 1 else other, center_map.max())
            for scale, center_map in maps.items()
        }

    def _candidates(self, given: Maps, fed_with: str) -> Maps:
        """Compare the poses at the centres."""
        found = self._walk(given, "candidates")
        valid = np.asarray(given["center_valid"])[0]
        ours = np.asarray(found["candidates"])[0][valid]
        expected = self._arrays["poses_regressed"]
        self._compare.keypoints("candidates", ours, expected, fed_with=fed_with)
        return found

    def _poses(self, given: Maps, fed_with: str) -> None:
        """Compare all that follows candidates, one thing after the other."""
        slots = ("valid", "regressed", "center_scores")
        found = given | self._walk(given, *slots, "regression_scores")
        rows, ties = self._rows(found)
        self._slots(found, rows, ties, fed_with)
        found |= self._walk(
            found, "peaks", "peak_values", "absorbed", "absorbed_scores"
        )
        kept = self._absorption(found, rows, fed_with)
        found |= self._walk(found, "refined", "refined_scores")
        kept = self._refinement(found, rows, kept, fed_with)
        everything = np.ones_like(kept)
        self._final(found, "ranking", rows, kept, fed_with)
        self._final(found, "regression", rows, everything, fed_with)

    def _rows(self, found: Maps) -> tuple[Int[np.ndarray, " n"], int]:
        """Our slots in the reference's order, and how many stand elsewhere by a tie.

        Poses of equal scores, as those of the best centres of other scales, come in any
        order (specification, 8).
        """
        slots = np.flatnonzero(np.asarray(found["valid"])[0])
        points = np.asarray(found["regressed"])[0][slots]
        expected = self._arrays["poses_nms"][..., :2]
        if points.shape != expected.shape or not len(slots):
            return slots, 0
        distance = np.abs(points[None] - expected[:, None]).max(axis=(2, 3))
        order = np.argmin(distance, axis=1)
        scores = np.asarray(found["center_scores"])[0][slots]
        tied = np.abs(scores[order] - scores) <= 1e-6 * scores.max(initial=0)
        if len({*order.tolist()}) < len(order) or not tied.all():
            return slots, 0
        return slots[order], int(np.sum(order != np.arange(len(order))))

    def _slots(self, found: Maps, rows: np.ndarray, ties: int, fed_with: str) -> None:
        note = f"{ties} ties" if ties else ""
        ours = np.asarray(found["regressed"])[0][rows]
        self._compare.keypoints(
            "poses after NMS",
            ours,
            self._arrays["poses_nms"],
            fed_with=fed_with,
            note=note,
        )
        scores = np.asarray(found["center_scores"])[0][rows]
        expected = self._arrays["nms_center_scores"]
        self._relative("scores after NMS", scores, expected, fed_with)
        regression = "poses_nms_regression_only"
        if regression in self._arrays:
            scores = np.asarray(found["regression_scores"])[0][rows]
            expected = self._arrays[regression][..., 2]
            self._relative(regression, scores, expected, fed_with)

    def _absorption(self, found: Maps, rows: np.ndarray, fed_with: str) -> Mask:
        """Compare candidates and absorbed keypoints; the mask leaves out ties."""
        if "candidates_xy" in self._arrays:
            self._peaks(found, fed_with)
        expected = self._arrays["poses_absorbed"]
        ours = np.asarray(found["absorbed"])[0][rows]
        if ours.shape != expected[..., :2].shape:
            self._compare.keypoints("absorbed", ours, expected, fed_with=fed_with)
            return np.zeros(expected.shape[:2], bool)
        tied = self._arrays.get("absorbed_tied", np.zeros(expected.shape[:2])) > 0
        differs = np.abs(ours - expected[..., :2]).max(axis=-1) > _CLOSE
        kept = ~(tied & differs)
        note = f"{np.sum(~kept)} ties" if not kept.all() else ""
        scores = np.asarray(found["absorbed_scores"])[0][rows]
        self._keypoints("absorbed", ours, scores, expected, kept, fed_with, note)
        return kept

    def _peaks(self, found: Maps, fed_with: str) -> None:
        """Compare absorption candidates; where values tie any pixel will do."""
        values = np.asarray(found["peak_values"])[0]
        expected, places = (self._arrays[f"candidates_{x}"] for x in ("value", "xy"))
        self._relative("candidate values", values, expected, fed_with)
        ours = np.asarray(found["peaks"])[0].astype(int)
        if ours.shape != places.shape:
            places = np.full_like(ours, -1)
        fused = np.asarray(found["fused"])[0]
        kind = np.arange(len(ours))[:, None]
        at_ours, at_theirs = (
            fused[xy[..., 1], xy[..., 0], kind] for xy in (ours, places)
        )
        differs = (ours != places).any(axis=-1)
        # Pixels that are no peaks count as 0, so any will do there.
        margin = _TOLERANCE * np.abs(values).max(initial=0)
        tied = differs & ((np.abs(at_ours - at_theirs) <= margin) | (values == 0))
        self._compare.absolute(
            "candidates' pixels",
            np.where(tied[..., None], places, ours),
            places,
            tolerance=0.0,
            fed_with=fed_with,
            ties=int(tied.sum()),
        )

    def _refinement(
        self, found: Maps, rows: np.ndarray, kept: Mask, fed_with: str
    ) -> Mask:
        """Compare refined keypoints; the mask leaves out fits that end elsewhere."""
        expected, start = self._arrays["poses_adjusted"], self._arrays["poses_absorbed"]
        ours = np.asarray(found["refined"])[0][rows]
        if ours.shape != expected[..., :2].shape:
            self._compare.keypoints("refined", ours, expected, fed_with=fed_with)
            return np.zeros_like(kept)
        differs = np.abs(ours - expected[..., :2]).max(axis=-1) > _MET
        moved = np.linalg.norm(expected[..., :2] - start[..., :2], axis=-1)
        elsewhere = kept & differs & (moved > _NEAR)
        kept = kept & ~elsewhere
        note = f"{elsewhere.sum()} ill-posed fits" if elsewhere.any() else ""
        scores = np.asarray(found["refined_scores"])[0][rows]
        self._keypoints("refined", ours, scores, expected, kept, fed_with, note)
        return kept

    def _final(
        self, found: Maps, name: str, rows: np.ndarray, kept: Mask, fed_with: str
    ) -> None:
        """Compare a result set in image px; distances count in input px."""
        label, suffix = _SETS[name]
        expected = self._arrays.get(f"{label}_keypoints")
        if expected is None:
            return
        extra = ("pose_features", "predicted_oks") if self._config.scorer else ()
        found = self._walk(found, "outputs", *extra)
        poses = found["outputs"][name]
        points = to_image(np.asarray(poses.keypoints)[0][rows], self._case.to_image[0])
        scores = np.asarray(poses.keypoint_scores)[0][rows]
        unit = float(np.sqrt(np.linalg.det(self._arrays["affine"][:, :2])))
        stage = f"{name} keypoints"
        self._keypoints(stage, points, scores, expected, kept, fed_with, unit=unit)
        whole = kept.all(axis=1) if len(kept) == len(rows) else slice(None)
        arrays = {f"{label}_scores": poses.scores} if extra else {}
        if extra:
            arrays[f"rescore_feature{suffix}"] = found["pose_features"][name]
            arrays[f"predicted_oks{suffix}"] = found["predicted_oks"][name]
        else:
            arrays[f"{label}_scores_before"] = poses.scores
        for array, ours in arrays.items():
            if array in self._arrays:
                ours = np.asarray(ours)[0][rows][whole]
                self._relative(array, ours, self._arrays[array][whole], fed_with)

    def _alone(self, maps: Maps) -> None:
        """Compare stages by themselves, from the reference's arrays."""
        arrays, slots = self._arrays, self._config.num_slots
        found = self._walk(maps, "fused")
        self._fused(found, "heatmaps")
        centers = self._centers(maps, maps, "heatmaps")
        self._candidates(maps | centers, "heatmaps, posemap")
        maps = maps | found
        count = len(arrays["poses_nms"])
        candidates = pad_slots(self._case, arrays["poses_regressed"], slots)
        self._poses(
            maps | centers | {"candidates": candidates}, "heatmaps, poses_regressed"
        )
        rows = np.arange(count)
        given = maps | {
            "valid": np.arange(slots)[None] < count,
            "regressed": self._padded(arrays["poses_nms"][..., :2]),
            "center_scores": self._padded(arrays["nms_center_scores"]),
            "absorbed": self._padded(arrays["poses_absorbed"][..., :2]),
            "absorbed_scores": self._padded(arrays["poses_absorbed"][..., 2]),
        }
        kept = np.ones(arrays["poses_absorbed"].shape[:2], bool)
        refined = self._walk(given, "refined", "refined_scores")
        self._refinement(refined, rows, kept, "poses_absorbed")
        given |= {
            "refined": self._padded(arrays["poses_adjusted"][..., :2]),
            "refined_scores": self._padded(arrays["poses_adjusted"][..., 2]),
        }
        self._final(given, "ranking", rows, kept, "poses_adjusted")

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        """The reference's rows in all slots."""
        fill = (0, self._config.num_slots - len(rows))
        return np.pad(rows, (fill, *((0, 0),) * (rows.ndim - 1)))[None]

    def _reference_maps(self) -> Maps:
        heatmaps, poses = self._case.heatmaps, self._case.pose_maps
        others = [(heatmaps[s], poses[s]) for s in self._config.other_scales]
        scaled = {"scaled_maps": tuple(others)} if others else {}
        maps = {"heatmaps": heatmaps[1.0], "pose_map": poses[1.0]}
        return self._start() | maps | scaled

    def _keypoints(
        self,
        stage: str,
        points: Float[np.ndarray, "n K 2"],
        scores: Float[np.ndarray, "n K"],
        expected: Float[np.ndarray, "n K 3"],
        kept: Mask,
        fed_with: str,
        note: str = "",
        unit: float = 1.0,
    ) -> None:
        """Compare keypoints and their scores, but for those that a mask leaves out."""
        if points.shape == expected[..., :2].shape:
            points, scores, expected = (
                array[kept][:, None] for array in (points, scores, expected)
            )
        self._compare.keypoints(
            stage, points, expected, fed_with=fed_with, unit=unit, note=note
        )
        close = np.abs(points - expected[..., :2]).max(axis=-1) * unit <= _CLOSE
        found, scores = np.where(close, scores, expected[..., 2]), expected[..., 2]
        self._relative(f"{stage}: scores", found, scores, fed_with)

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
