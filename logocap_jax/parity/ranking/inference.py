"""One image through the method's test path, stage by stage, against the reference."""

import pathlib

import numpy as np

from logocap_jax.methods.base import Variables
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.layout import Layout
from logocap_jax.parity.pose_map_cases import (
    pad_slots,
    read_case,
)
from logocap_jax.parity.pose_map_check import Maps, PoseMapCheck, with_options
from logocap_jax.parity.ranking.arrays import DENSE, LAYOUT, block_arrays, fine_layout
from logocap_jax.parity.ranking.poses import PoseChecks


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
    config = with_options(path, config)
    layout: Layout = {**LAYOUT, **(fine_layout() if config.fine_hidden else {})}
    case = read_case(path, layout, config, stride=config.cells.stride)
    return _Check(case, config, make_stages(config), variables, marks).run()


class _Check(PoseMapCheck):
    """Steps of one check; each adds its results to the comparison."""

    config: RankingConfig

    def run(self) -> list[StageResult]:
        self._pose_checks = PoseChecks(self.case, self.compare)
        found, noisy = self.dense(*DENSE, "heatmap_blocks", "offset_block")
        self.check_edge(found)
        ours, theirs = block_arrays(found), block_arrays(noisy)
        for name in ours:
            self.check_raw(name, ours[name], theirs[name])
        self.check_maps(found, noisy)
        centers = self._centers(found, noisy, "input")
        given = self.check_candidates(found | centers, "input")
        noisy |= centers
        self._poses(given, "input", noisy | self.walk(noisy, "candidates"))
        maps = self.reference_maps()
        if maps is not None:
            self._alone(maps)
        return self.compare.results

    def _centers(self, found: Maps, noisy: Maps, fed_with: str) -> Maps:
        """Compare centres, by the values of their maps; those of slots are scaled."""
        maps = {scale: x[0, ..., -1] for scale, x in self.by_scale(found, 0).items()}
        thresholds = {
            scale: float(maps[scale].max() / maps[1.0].max())
            * self.config.center_threshold
            for scale in maps
        }
        slots = self.check_centers(found, noisy, fed_with, thresholds)
        for scale, place, _ in self.case.scales_of_slots(self.config.num_slots):
            factor = np.float32(1 if scale == 1 else self.config.scale_factor)
            share = factor * slots["center_values"][0, place] / maps[scale].max()
            slots["center_values"][0, place] = share * maps[1.0].max()
        return slots

    def _poses(self, given: Maps, fed_with: str, noisy: Maps | None = None) -> None:
        """Compare all that follows candidates, one thing after the other."""
        slots = ("valid", "regressed", "center_scores", "regression_scores")
        found = given | self.walk(given, *slots)
        noisy = found if noisy is None else self.walk(noisy, *slots)
        rows, ties = self._pose_checks.rows(found)
        self._pose_checks.slots(found, noisy, rows, ties, fed_with)
        found |= self.walk(found, "peaks", "peak_values", "absorbed", "absorbed_scores")
        kept = self._pose_checks.absorption(found, rows, fed_with)
        found |= self.walk(found, "refined", "refined_scores")
        kept = self._pose_checks.refinement(found, rows, kept, fed_with)
        found |= self._scored(found)
        self._pose_checks.final(found, "ranking", rows, kept, fed_with)
        everything = np.ones_like(kept)
        self._pose_checks.final(found, "regression", rows, everything, fed_with, noisy)

    def _scored(self, found: Maps) -> Maps:
        """The result sets and, with a scorer, what scores them."""
        extra = ("pose_features", "predicted_oks") if self.config.scorer else ()
        return self.walk(found, "outputs", *extra)

    def _alone(self, maps: Maps) -> None:
        """Compare stages by themselves, from the reference's arrays."""
        arrays, slots = self.arrays, self.config.num_slots
        found = self.walk(maps, "fused")
        self.check_fused(found, "heatmaps")
        centers = self._centers(maps, maps, "heatmaps")
        self.check_candidates(maps | centers, "heatmaps, posemap")
        maps = maps | found
        count = len(arrays["poses_nms"])
        candidates = pad_slots(self.case, arrays["poses_regressed"], slots)
        self._poses(
            maps | centers | {"candidates": candidates}, "heatmaps, poses_regressed"
        )
        rows = np.arange(count)
        given = maps | {
            "valid": np.arange(slots)[None] < count,
            "regressed": self.padded(arrays["poses_nms"][..., :2]),
            "center_scores": self.padded(arrays["nms_center_scores"]),
            "absorbed": self.padded(arrays["poses_absorbed"][..., :2]),
            "absorbed_scores": self.padded(arrays["poses_absorbed"][..., 2]),
        }
        kept = np.ones(arrays["poses_absorbed"].shape[:2], bool)
        refined = self.walk(given, "refined", "refined_scores")
        self._pose_checks.refinement(refined, rows, kept, "poses_absorbed")
        given |= {
            "refined": self.padded(arrays["poses_adjusted"][..., :2]),
            "refined_scores": self.padded(arrays["poses_adjusted"][..., 2]),
        }
        given["regression_scores"] = np.zeros_like(given["refined_scores"])
        found = self._scored(given)
        self._pose_checks.final(found, "ranking", rows, kept, "poses_adjusted")
