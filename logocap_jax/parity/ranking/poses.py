"""Poses after each step, against the reference's: ties and ill-posed fits left out."""

import functools

import numpy as np
from jaxtyping import Bool, Float, Int

from logocap_jax.evaluation.results import to_image
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.pose_map_cases import Case
from logocap_jax.parity.pose_map_check import TOLERANCE, Maps

_CLOSE = 0.01  # input px: as near as keypoints must be
# Input px: a fit that ends farther off than this from its start is ill-posed. It is
# left out where it does not meet the reference's as nearly as others do.
_NEAR, _MET = 3.0, 5e-4
# Result sets and the names of their arrays.
_SETS = {"ranking": ("final", ""), "regression": ("regression", "_regression")}


Mask = Bool[np.ndarray, "n K"]


class PoseChecks:
    """Adds the results of each step to a comparison.

    Steps take all arrays that stages have written (`found`), the slots of the
    reference's poses in its order (`rows`), and the keypoints to compare (`kept`).
    """

    def __init__(self, case: Case, compare: Comparison) -> None:
        """Take the reference's arrays, and where results go."""
        self._case, self._arrays, self._compare = case, case.arrays, compare
        self._relative = functools.partial(compare.relative, tolerance=TOLERANCE)

    def rows(self, found: Maps) -> tuple[Int[np.ndarray, " n"], int]:
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

    def slots(
        self, found: Maps, noisy: Maps, rows: np.ndarray, ties: int, fed_with: str
    ) -> None:
        """Compare poses after NMS, and their scores as an answer by themselves.

        Heat values there follow the slope of a heatmap: `noisy` are the arrays from an
        input that was changed by one rounding step.
        """
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
        self._relative("scores after NMS", scores, expected, fed_with=fed_with)
        regression = "poses_nms_regression_only"
        if regression in self._arrays:
            scores = np.asarray(found["regression_scores"])[0][rows]
            expected = self._arrays[regression][..., 2]
            noise = np.asarray(noisy["regression_scores"])[0][rows]
            self._relative(regression, scores, expected, fed_with=fed_with, noisy=noise)

    def absorption(self, found: Maps, rows: np.ndarray, fed_with: str) -> Mask:
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
        self._relative("candidate values", values, expected, fed_with=fed_with)
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
        margin = TOLERANCE * np.abs(values).max(initial=0)
        tied = differs & ((np.abs(at_ours - at_theirs) <= margin) | (values == 0))
        self._compare.absolute(
            "candidates' pixels",
            np.where(tied[..., None], places, ours),
            places,
            tolerance=0.0,
            fed_with=fed_with,
            ties=int(tied.sum()),
        )

    def refinement(
        self, found: Maps, rows: np.ndarray, kept: Mask, fed_with: str
    ) -> Mask:
        """Compare refined keypoints; the mask leaves out fits that end elsewhere."""
        expected, start = self._arrays["poses_adjusted"], self._arrays["poses_absorbed"]
        ours = np.asarray(found["refined"])[0][rows]
        if ours.shape != expected[..., :2].shape:
            self._compare.keypoints("refined", ours, expected, fed_with=fed_with)
            return np.zeros_like(kept)
        scores = np.asarray(found["refined_scores"])[0][rows]
        error = np.abs(scores - expected[..., 2])
        differs = error > TOLERANCE * np.abs(expected[..., 2]).max(initial=0)
        differs |= np.abs(ours - expected[..., :2]).max(axis=-1) > _MET
        moved = np.linalg.norm(expected[..., :2] - start[..., :2], axis=-1)
        elsewhere = kept & differs & (moved > _NEAR)
        kept = kept & ~elsewhere
        note = f"{elsewhere.sum()} ill-posed fits" if elsewhere.any() else ""
        self._keypoints("refined", ours, scores, expected, kept, fed_with, note)
        return kept

    def final(
        self,
        found: Maps,
        name: str,
        rows: np.ndarray,
        kept: Mask,
        fed_with: str,
        noisy: Maps | None = None,
    ) -> None:
        """Compare a result set in image px; distances count in input px.

        `noisy`: of regressed poses, as for `slots`.
        """
        label, suffix = _SETS[name]
        expected = self._arrays.get(f"{label}_keypoints")
        if expected is None:
            return
        poses = found["outputs"][name]
        points = to_image(np.asarray(poses.keypoints)[0][rows], self._case.to_image[0])
        scores = np.asarray(poses.keypoint_scores)[0][rows]
        unit = float(np.sqrt(np.linalg.det(self._arrays["affine"][:, :2])))
        stage = f"{name} keypoints"
        noise = scores
        if noisy is not None:
            noise = np.asarray(noisy["regression_scores"])[0][rows]
        arguments = (stage, points, scores, expected, kept, fed_with)
        self._keypoints(*arguments, unit=unit, noisy=noise)
        whole = kept.all(axis=1) if len(kept) == len(rows) else slice(None)
        arrays = {}
        if "pose_features" in found:
            arrays[f"rescore_feature{suffix}"] = found["pose_features"][name]
            arrays[f"predicted_oks{suffix}"] = found["predicted_oks"][name]
            arrays[f"{label}_scores"] = poses.scores
        else:
            arrays[f"{label}_scores_before"] = poses.scores
        # A pose's score changes as the mean of its keypoints' does.
        mean = scores.mean(axis=-1)
        growth = np.divide(
            noise.mean(-1), mean, out=np.ones_like(mean), where=mean != 0
        )
        for array, ours in arrays.items():
            if array in self._arrays:
                values = np.asarray(ours)[0][rows]
                change = growth if ours is poses.scores else 1
                self._relative(
                    array,
                    values[whole],
                    self._arrays[array][whole],
                    fed_with=fed_with,
                    noisy=(values * change)[whole],
                )

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
        noisy: Float[np.ndarray, "n K"] | None = None,
    ) -> None:
        """Compare keypoints and their scores, but for those that a mask leaves out."""
        same_shape = points.shape == expected[..., :2].shape
        if same_shape:
            points, scores, expected, noise = (
                array[kept][:, None]
                for array in (
                    points,
                    scores,
                    expected,
                    scores if noisy is None else noisy,
                )
            )
        self._compare.keypoints(
            stage, points, expected, fed_with=fed_with, unit=unit, note=note
        )
        if not same_shape:
            return
        close = np.abs(points - expected[..., :2]).max(axis=-1) * unit <= _CLOSE
        found, noise = (np.where(close, x, expected[..., 2]) for x in (scores, noise))
        stage, scores = f"{stage}: scores", expected[..., 2]
        self._relative(stage, found, scores, fed_with=fed_with, noisy=noise)
