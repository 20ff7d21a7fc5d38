"""The rows that a scorer learns from: poses, labels, features."""

import pathlib
from collections.abc import Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logocap_jax.evaluation.labelled_poses import AREA_RANGES, PoseRows, label_poses
from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.inference.pose_features import pose_features
from logocap_jax.methods.scorer import labels
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays, Entry, from_torch
from logocap_jax.skeletons import KNOWN
from logocap_jax.weights.containers import errors_naming

_TOLERANCE = 1e-6
_LAYOUT = {
    "image_ids": Entry("I", required=True),
    "row_image": Entry("R", required=True),
    "row_area_range": Entry("R", required=True),
    "row_pose": Entry("R K 2", required=True),
    "row_keypoint_score": Entry("R K", required=True),
    "row_oks": Entry("R", required=True),
    "label": Entry("R", required=True),
    "feature": Entry("R F", required=True),
}


def holds_scorer_rows(names: Set[str]) -> bool:
    """True for the arrays of a case of rows that a scorer learns from."""
    return "row_oks" in names


def check_scorer_rows(path: pathlib.Path, *, marks: bool = True) -> list[StageResult]:
    """Compare rows from the detections of a case, and features from its rows.

    Args:
      path: `.npz` with `detections_ID`, `detection_scores_ID` and `gt_*_ID` of images,
        and the rows made of them, one range of areas after the other.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, an array is missing, or keypoints of no known skeleton.
    """
    with errors_naming(path):
        arrays = from_torch(read_arrays(path), _LAYOUT, {})
        for number in arrays["image_ids"].tolist():
            arrays = from_torch(arrays, _layout_of(number), {})
        count = arrays["row_pose"].shape[1]
        if count not in KNOWN:
            raise ValueError(f"got {count} keypoints, expected one of {[*KNOWN]}")
        skeleton = KNOWN[count]
        compare = Comparison(case_name(path), marks=marks)
        rows = _find_rows(arrays, skeleton.sigmas)
        features = jax.jit(
            jax.vmap(lambda points, scores: pose_features(points, scores, skeleton))
        )
        found = {
            "row_pose": rows.keypoints,
            "row_keypoint_score": rows.keypoint_scores,
            "row_oks": rows.oks,
            "label": np.asarray(labels(jnp.asarray(rows.oks), quirks="reference")),
            "feature": np.asarray(features(rows.keypoints, rows.keypoint_scores)),
        }
        for name, array in found.items():
            expected = arrays[name]
            compare.relative(
                name, array, expected, tolerance=_TOLERANCE, fed_with="detections"
            )
        alone = features(
            arrays["row_pose"].astype(np.float32),
            arrays["row_keypoint_score"].astype(np.float32),
        )
        compare.relative(
            "feature",
            np.asarray(alone),
            arrays["feature"],
            tolerance=_TOLERANCE,
            fed_with="row_pose, row_keypoint_score",
        )
        return compare.results


def _layout_of(number: int) -> dict[str, Entry]:
    """The arrays of an image."""
    axes = {
        "detections": "D K 3",
        "detection_scores": "D",
        "gt_keypoints": "G K 3",
        "gt_area": "G",
        "gt_box": "G 4",
        "gt_iscrowd": "G",
    }
    return {f"{name}_{number}": Entry(x, required=True) for name, x in axes.items()}


def _find_rows(arrays: Arrays, sigmas: tuple[float, ...]) -> PoseRows:
    """Our rows in the order of the case: by range of areas, image, score."""
    numbers = arrays["image_ids"].tolist()
    people = [person for number in numbers for person in _people(arrays, number)]
    by_image = [
        label_poses({"annotations": people}, [_poses(arrays, number)], sigmas)
        for number in numbers
    ]
    rows = PoseRows(*map(np.concatenate, zip(*by_image, strict=True)))
    ranges = len(AREA_RANGES)
    return PoseRows(
        np.tile(rows.keypoints, (ranges, 1, 1)),
        np.tile(rows.keypoint_scores, (ranges, 1)),
        rows.oks.T.ravel(),
    )


def _poses(arrays: Arrays, number: int) -> ImagePoses:
    detections = arrays[f"detections_{number}"]
    scores = arrays[f"detection_scores_{number}"]
    return ImagePoses(number, detections[..., :2], detections[..., 2], scores)


def _people(arrays: Arrays, number: int) -> list[dict[str, Any]]:
    """Annotations as COCO has them."""
    names = ("keypoints", "area", "box", "iscrowd")
    parts = (arrays[f"gt_{name}_{number}"] for name in names)
    return [
        {
            "image_id": number,
            "keypoints": keypoints.ravel().tolist(),
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            "area": float(area),
            "bbox": box.tolist(),
            "iscrowd": int(crowd),
        }
        for keypoints, area, box, crowd in zip(*parts, strict=True)
    ]
