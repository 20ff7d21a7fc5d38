"""From a photograph to poses by each decoder, against what their code found."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_pipeline.feed import affine
from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import InputSpec, Variables
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.dekr.mmpose import order_sticks
from logocap_jax.methods.dekr.spec import SPEC
from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.pose_map_check import TOLERANCE, Maps
from logocap_jax.parity.walk import StageWalker

_TIE = 1e-6  # centre values closer than this are equal
_ALL = (
    *("heatmaps_raw", "offsets_raw", "heatmaps", "pose_map", "candidates", "heat"),
    *("center_values", "center_valid", "pose_features", "predicted_oks"),
)


class DecoderCheck:
    """Steps of one check; each adds its results to the comparison."""

    def __init__(
        self,
        compare: Comparison,
        arrays: Arrays,
        config: DekrConfig,
        variables: Variables,
    ) -> None:
        """Compute nothing yet.

        Args:
          compare: takes the results.
          arrays: of the case, in this project's layout.
          config: settings of the model, its decoder among them.
          variables: of the model.
        """
        self.compare, self.arrays, self.config = compare, arrays, config
        self.variables = variables

    def official(self, photograph: np.ndarray) -> None:
        """Compare with the release's results."""
        shown = self.arrays["heatmaps"].shape[1:3]
        found = self._from_photograph(
            photograph, 4 * min(shown), "heatmaps", "pose_map"
        )
        maps = np.asarray(found["heatmaps"])[..., self.arrays["shown_heatmaps"]]
        self._relative("heatmaps", maps, self.arrays["heatmaps"])
        nose = np.asarray(found["pose_map"])[:, :, :, :1]
        self._relative("pose map", nose, self.arrays["posemap_nose"])
        final = self.arrays["final_keypoints"]
        self._final(found, final[..., :2], final[..., 2])
        self._relative("scores", self._poses(found)[2], self.arrays["final_scores"])

    def mmpose_0x(self, photograph: np.ndarray) -> None:
        """Compare with the results of mmpose 0.x."""
        names = ("candidates", "heat", "center_scores", "center_valid", "kept", "valid")
        size = int(min(self.arrays["base_size"]))
        found = self._from_photograph(photograph, size, *names)
        heat = np.asarray(found["heat"][0])[self._kept(found)]
        self._relative("heat", heat, self.arrays["keypoint_heat"])
        self._final(found, self.arrays["keypoints"], self.arrays["keypoint_scores"])
        self._relative("scores", self._poses(found)[2], self.arrays["scores"])
        given = {name: found[name] for name in (*names[:4], "input_to_image")}
        plain = self._run(given, "outputs", scorer=False)
        expected = self.arrays["scores_no_rescore"]
        scores = self._poses(found | plain)[2]
        self._relative("scores, no scorer", scores, expected)

    def mmpose(self, photograph: np.ndarray) -> None:
        """Compare with the results of mmpose 1.x, end to end and by stages."""
        size = int(min(self.arrays["input_size"]))
        found = self._from_photograph(photograph, size, *_ALL)
        self.compare.absolute(
            "input",
            np.asarray(found["image"], np.int32),
            self.arrays["image_resized"].astype(np.int32),
            tolerance=0.0,
            fed_with="photograph",
        )
        self._maps(found)
        self._candidates(found)
        self._ends(found, self.arrays["tied_rows"])
        self._without_mirror(found)
        self._alone(found)

    def _maps(self, found: Maps) -> None:
        heatmaps, offsets = (
            np.asarray(found[f"{x}_raw"]) for x in ("heatmaps", "offsets")
        )
        self._relative(
            "mirror's heatmaps", heatmaps[1:], self.arrays["heatmaps_raw_mirror"]
        )
        nose = self.arrays["displacements_raw_mirror_nose"]
        self._relative("mirror's displacements", -offsets[1:, :, :, :1], nose)
        self._relative("heatmaps", found["heatmaps"], self.arrays["heatmaps"])
        poses = np.asarray(found["pose_map"])
        displacements = poses - _cells(*poses.shape[1:3])
        self._relative("displacements", displacements, self.arrays["displacements"])

    def _candidates(self, found: Maps) -> None:
        """Compare candidates but tied ones, which any program may order as it likes."""
        rows = np.flatnonzero(np.asarray(found["center_valid"][0]))
        known = np.delete(np.arange(len(rows)), self.arrays["tied_rows"])
        points = np.asarray(found["candidates"][0])[rows]
        expected = self.arrays["decoded_keypoints"]
        self.compare.keypoints(
            "candidates", points[known], expected[known], fed_with="photograph"
        )
        for stage, name, theirs in (
            ("centre values", "center_values", "root_scores"),
            ("heat", "heat", "keypoint_heat"),
            ("predicted OKS", "predicted_oks", "rescore"),
        ):
            ours = np.asarray(found[name][0])[rows]
            self._relative(stage, ours[known], self.arrays[theirs][known])
        features = np.asarray(found["pose_features"][0])[rows][known]
        expected = order_sticks(self.arrays["rescore_feature"][known])
        self._relative("features", features, expected)

    def _ends(
        self, found: Maps, tied: np.ndarray, fed_with: str = "photograph"
    ) -> None:
        """Compare final poses, with and without the scorer; tied candidates' not."""
        names = ("candidates", "heat", "center_values", "center_valid")
        given = {name: found[name] for name in (*names, "input_to_image")}
        for scorer, suffix, label in (
            (True, "", ""),
            (False, "_no_rescore", ", no scorer"),
        ):
            ends = self._run(given, "outputs", "kept", "valid", scorer=scorer)
            expected = self.arrays[f"nms_keep{suffix}"]
            self.compare.absolute(
                f"kept by NMS{label}",
                self._kept(ends),
                expected,
                tolerance=0.0,
                fed_with=fed_with,
            )
            self._final(
                found | ends,
                self.arrays[f"nms_keypoints{suffix}"],
                self.arrays[f"nms_scores{suffix}"],
                known=~np.isin(expected, tied),
                fed_with=fed_with,
                label=label,
            )

    def _without_mirror(self, found: Maps) -> None:
        """Compare final poses without the flip test."""
        raw = {name: found[name][:1] for name in ("heatmaps_raw", "offsets_raw")}
        given = {**raw, "input_to_image": found["input_to_image"], "valid_size": None}
        names = ("outputs", "kept", "valid", "center_values")
        ends = self._run(given, *names, flip_test=False)
        values = np.asarray(ends["center_values"][0])
        # Where equal values go on behind the last slot, any of them may be in it.
        tied = np.flatnonzero(np.abs(values - values[-1]) < _TIE)
        self._final(
            found | ends,
            self.arrays["noflip_keypoints"],
            self.arrays["noflip_scores"],
            known=~np.isin(self._kept(ends), tied),
            label=", no mirror image",
        )

    def _alone(self, found: Maps) -> None:
        """Compare the last stages by themselves, from mmpose's candidates."""
        rows = self.arrays["root_scores"]
        fill = self.config.num_slots - len(rows)
        given = {
            name: jnp.asarray(np.pad(x, [(0, fill)] + [(0, 0)] * (x.ndim - 1))[None])
            for name, x in (
                ("candidates", self.arrays["decoded_keypoints"]),
                ("heat", self.arrays["keypoint_heat"]),
                ("center_values", rows),
                ("center_valid", np.ones(len(rows), bool)),
            )
        }
        self._ends(found | given, np.empty(0), "decoded_keypoints")

    def _run(self, given: Maps, *wanted: str, **changes: Any) -> Maps:
        config = dataclasses.replace(self.config, **changes)
        return StageWalker(make_stages(config), self.variables)(given, *wanted)

    def _from_photograph(
        self, photograph: np.ndarray, short_side: int, *wanted: str
    ) -> Maps:
        """All arrays on the way from the photograph to `outputs`, and its input."""
        image, to_photograph = _warp(photograph, short_side, SPEC.inputs(self.config))
        given = {
            "image": jnp.asarray(image)[None],
            "valid_size": None,
            "input_to_image": jnp.asarray(to_photograph, jnp.float32)[None],
        }
        return given | self._run(given, "outputs", *wanted)

    def _kept(self, found: Maps) -> np.ndarray:
        return np.asarray(found["kept"][0])[np.asarray(found["valid"][0])]

    def _poses(self, found: Maps) -> tuple[np.ndarray, ...]:
        """Keypoints in image px, their scores, and the poses' scores."""
        poses = found["outputs"]["dekr"]
        valid = np.asarray(poses.valid[0])
        points = np.asarray(poses.keypoints[0])[valid]
        points = to_image(points, np.asarray(found["input_to_image"][0], np.float64))
        scores = (poses.keypoint_scores, poses.scores)
        return points, *(np.asarray(x[0])[valid] for x in scores)

    def _final(
        self,
        found: Maps,
        keypoints: np.ndarray,
        scores: np.ndarray,
        *,
        known: np.ndarray | slice = slice(None),
        fed_with: str = "photograph",
        label: str = "",
    ) -> None:
        """Compare final poses and their keypoints' scores."""
        points, keypoint_scores, _ = self._poses(found)
        unit = (
            float(np.linalg.det(np.asarray(found["input_to_image"][0])[:, :2])) ** -0.5
        )
        if points.shape == keypoints.shape:
            points, keypoints = points[known], keypoints[known]
            keypoint_scores, scores = keypoint_scores[known], scores[known]
        stage = f"final keypoints{label}"
        self.compare.keypoints(stage, points, keypoints, fed_with=fed_with, unit=unit)
        self._relative(f"keypoint scores{label}", keypoint_scores, scores, fed_with)

    def _relative(
        self, stage: str, found: Any, expected: Any, fed_with: str = "photograph"
    ) -> None:
        found = np.asarray(found, np.float32)
        self.compare.relative(
            stage, found, expected, tolerance=TOLERANCE, fed_with=fed_with
        )


def _cells(height: int, width: int) -> np.ndarray:
    """`(x, y)` of each cell, `[h, w, 1, 2]`."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[
        :, :, None
    ]


def _warp(
    photograph: np.ndarray, short_side: int, inputs: InputSpec
) -> tuple[np.ndarray, np.ndarray]:
    """The input as the method asks for it, and the way from its px to the image's."""
    image_size = photograph.shape[1], photograph.shape[0]
    size = affine.eval_input_size(
        image_size,
        short_side=short_side,
        multiple=inputs.multiple,
        rounding=inputs.rounding,
    )
    transform = affine.eval_affine(image_size, size, inputs.rounding)
    image = affine.warp_image(photograph, transform, size=size)
    return image, affine.invert_affine(transform)


CHECKS = {
    "official": DecoderCheck.official,
    "mmpose": DecoderCheck.mmpose,
    "mmpose_0x": DecoderCheck.mmpose_0x,
}
"""By decoder: the check of a photograph, uint8 `[H, W, 3]`."""
