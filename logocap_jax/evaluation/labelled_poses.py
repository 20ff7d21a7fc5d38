"""Poses with the OKS that they reach, for a net that learns to predict it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pycocotools.cocoeval import Params

from logocap_jax.evaluation.matching import best_poses, pose_oks
from logocap_jax.evaluation.results import ImagePoses

_PARAMS = Params("keypoints")
AREA_RANGES: tuple[tuple[float, float], ...] = tuple(
    (float(low), float(high)) for low, high in _PARAMS.areaRng
)
"""COCO's, image px^2: all, medium, large."""
MOST_POSES = int(_PARAMS.maxDets[-1])
"""Poses of an image that COCO's evaluation looks at."""


class PoseRows(NamedTuple):
    """Poses of many images, in the order of the images, in each the best first.

    Attributes:
      keypoints: image px.
      keypoint_scores: one per keypoint.
      oks: one for each of `AREA_RANGES`.
    """

    keypoints: Float[np.ndarray, "n K 2"]
    keypoint_scores: Float[np.ndarray, "n K"]
    oks: Float[np.ndarray, "n R"]


def label_poses(
    truth: dict[str, Any], images: Iterable[ImagePoses], sigmas: Sequence[float]
) -> PoseRows:
    """Find the OKS of poses as COCO's evaluation sees them (specification, 4).

    For each range of areas it is the largest with a person that counts there; crowds,
    people without keypoints and people of another size do not. Where nobody counts it
    is the largest with one who does not.

    Args:
      truth: annotations of the images, see `load_ground_truth`.
      images: poses. Of each image the `MOST_POSES` of best score are taken, and none
        where nobody is annotated.
      sigmas: standard deviations of the keypoints.
    """
    people = defaultdict(list)
    for person in truth["annotations"]:
        people[person["image_id"]].append(person)
    count = len(sigmas)
    none = PoseRows(
        np.zeros((0, count, 2), np.float32),
        np.zeros((0, count), np.float32),
        np.zeros((0, len(AREA_RANGES))),
    )
    rows = [
        _label_image(image, people[image.image_id], np.asarray(sigmas, np.float64))
        for image in images
        if people[image.image_id] and len(image.scores)
    ]
    return PoseRows(*map(np.concatenate, zip(none, *rows, strict=True)))


def _label_image(
    image: ImagePoses, people: Sequence[dict[str, Any]], sigmas: np.ndarray
) -> PoseRows:
    best = best_poses(image.scores, MOST_POSES)
    keypoints, scores = image.keypoints[best], image.keypoint_scores[best]
    triplets = np.concatenate([keypoints, scores[..., None]], axis=-1)
    found = triplets.reshape(len(best), -1).astype(np.float64)
    oks = pose_oks(found, people, sigmas)  # [D, G]
    largest = [
        oks[:, counts if counts.any() else ~counts].max(axis=1)
        for counts in _who_counts(people)
    ]
    return PoseRows(keypoints, scores, np.stack(largest, axis=1))


def _who_counts(people: Sequence[dict[str, Any]]) -> Iterator[Bool[np.ndarray, " G"]]:
    """The people that are not ignored in each range of areas."""
    known = np.array([p["num_keypoints"] > 0 and not p["iscrowd"] for p in people])
    area = np.array([person["area"] for person in people], np.float64)
    for low, high in AREA_RANGES:
        yield known & (area >= low) & (area <= high)
