"""One image through the method's test path, stage by stage, against the reference."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from logocap_jax.methods.base import Variables
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.parity.cases import read_arrays
from logocap_jax.parity.compare import Comparison, StageResult, rounding_noise
from logocap_jax.parity.layout import Layout
from logocap_jax.parity.pose_map_cases import (
    Case,
    check_all_centers,
    pad_slots,
    read_case,
    test_options,
)
from logocap_jax.parity.ranking.arrays import DENSE, LAYOUT, block_arrays, fine_layout
from logocap_jax.parity.ranking.poses import PoseChecks
from logocap_jax.parity.walk import StageWalker
from logocap_jax.weights.containers import errors_naming

_TOLERANCE = 1e-5  # of the largest value

Maps = dict[str, Any]


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
        self._relative = functools.partial(self._compare.relative, tolerance=_TOLERANCE)
        self._pose_checks = PoseChecks(case, self._compare)
        self._walk = StageWalker(make_stages(config), variables)

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
            self._relative(
                "mirror image, right edge", mirrored, expected, fed_with="input"
            )
        ours, theirs = block_arrays(found), block_arrays(noisy)
        for name in ours:
            if name in self._arrays:
                expected = self._arrays[name]
                rows = slice(len(expected))
                arrays = (ours[name][rows], expected)
                noise = theirs[name][rows]
                self._relative(name, *arrays, fed_with="input", noisy=noise)
        for which, (label, maps) in enumerate(
            (("heatmaps", self._case.heatmaps), ("pose map", self._case.pose_maps))
        ):
            by_scale = self._by_scale(found, which), self._by_scale(noisy, which)
            for scale, expected in maps.items():
                name = label if scale == 1 else f"{label}, scale {scale:g}"
                ours_at, theirs_at = (arrays[scale] for arrays in by_scale)
                self._relative(
                    name, ours_at, expected, fed_with="input", noisy=theirs_at
                )
        self._fused(found, noisy, "input")

    def _fused(self, found: Maps, noisy: Maps, fed_with: str) -> None:
        """Compare the shown fused heatmaps; decoding fuses those of keypoints."""
        if "fused" not in self._arrays:
            return
        shown = self._arrays["shown_fused"]
        rows = shown < self._config.skeleton.num_keypoints
        ours, theirs = (
            np.asarray(maps["fused"])[..., shown[rows]] for maps in (found, noisy)
        )
        expected = self._arrays["fused"][..., rows]
        self._relative("fused", ours, expected, fed_with=fed_with, noisy=theirs)

    def _centers(self, found: Maps, noisy: Maps, fed_with: str) -> Maps:
        """Compare centres, by the values of their maps; those of slots are scaled."""
        maps, noise = (
            {scale: x[0, ..., -1] for scale, x in self._by_scale(arrays, 0).items()}
            for arrays in (found, noisy)
        )
        thresholds = {
            scale: float(maps[scale].max() / maps[1.0].max())
            * self._config.center_threshold
            for scale in maps
        }
        slots = check_all_centers(
            self._compare,
            self._case,
            self._config,
            maps,
            noise,
            fed_with=fed_with,
            thresholds=thresholds,
        )
        for scale, place, _ in self._case.scales_of_slots(self._config.num_slots):
            factor = np.float32(1 if scale == 1 else self._config.scale_factor)
            share = factor * slots["center_values"][0, place] / maps[scale].max()
            slots["center_values"][0, place] = share * maps[1.0].max()
        return slots

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
        rows, ties = self._pose_checks.rows(found)
        self._pose_checks.slots(found, rows, ties, fed_with)
        found |= self._walk(
            found, "peaks", "peak_values", "absorbed", "absorbed_scores"
        )
        kept = self._pose_checks.absorption(found, rows, fed_with)
        found |= self._walk(found, "refined", "refined_scores")
        kept = self._pose_checks.refinement(found, rows, kept, fed_with)
        found |= self._scored(found)
        self._pose_checks.final(found, "ranking", rows, kept, fed_with)
        everything = np.ones_like(kept)
        self._pose_checks.final(found, "regression", rows, everything, fed_with)

    def _scored(self, found: Maps) -> Maps:
        """The result sets and, with a scorer, what scores them."""
        extra = ("pose_features", "predicted_oks") if self._config.scorer else ()
        return self._walk(found, "outputs", *extra)

    def _alone(self, maps: Maps) -> None:
        """Compare stages by themselves, from the reference's arrays."""
        arrays, slots = self._arrays, self._config.num_slots
        found = self._walk(maps, "fused")
        self._fused(found, found, "heatmaps")
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
        self._pose_checks.refinement(refined, rows, kept, "poses_absorbed")
        given |= {
            "refined": self._padded(arrays["poses_adjusted"][..., :2]),
            "refined_scores": self._padded(arrays["poses_adjusted"][..., 2]),
        }
        given["regression_scores"] = np.zeros_like(given["refined_scores"])
        found = self._scored(given)
        self._pose_checks.final(found, "ranking", rows, kept, "poses_adjusted")

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
