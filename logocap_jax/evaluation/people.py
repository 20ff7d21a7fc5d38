"""People that were found one by one: those of an image together, without duplicates."""

import collections
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from logocap_jax.evaluation.results import ImagePoses


def merge_people(
    people: Sequence[ImagePoses],
    image_ids: Iterable[int],
    *,
    sigmas: Float[np.ndarray, " K"],
    threshold: float,
) -> list[ImagePoses]:
    """The poses of each image, best first, without duplicates.

    Args:
      people: one pose each, with the area of its crop, in any order.
      image_ids: of all images, also of those in which nobody was found.
      sigmas: of the keypoints.
      threshold: as for `suppress_people`.

    Returns:
      The images in order of image id.
    """
    by_image = collections.defaultdict(list)
    for person in people:
        by_image[person.image_id].append(person)
    count = len(sigmas)
    nobody = (np.zeros((0, count, 2)), np.zeros((0, count)), np.zeros(0))
    empty = [array.astype(np.float32) for array in nobody]
    merged = []
    for image_id in sorted({*image_ids, *by_image}):
        found = by_image[image_id]
        keypoints, keypoint_scores, scores = (
            np.concatenate([nothing, *(getattr(person, name) for person in found)])
            for name, nothing in zip(
                ("keypoints", "keypoint_scores", "scores"), empty, strict=True
            )
        )
        areas = [person.areas for person in found if person.areas is not None]
        kept = suppress_people(
            keypoints,
            scores,
            np.array([*itertools.chain(*areas)], np.float32),
            sigmas=sigmas,
            threshold=threshold,
        )
        arrays = (keypoints[kept], keypoint_scores[kept], scores[kept])
        merged.append(ImagePoses(image_id, *arrays))
    return merged


def suppress_people(
    keypoints: Float[np.ndarray, "n K 2"],
    scores: Float[np.ndarray, " n"],
    areas: Float[np.ndarray, " n"],
    *,
    sigmas: Float[np.ndarray, " K"],
    threshold: float,
) -> Int[np.ndarray, " m"]:
    """OKS-NMS: leave out people that are too much like a better one.

    The OKS of two people is taken with the mean of their areas; of equal scores the
    first is better.

    Args:
      keypoints: image px.
      scores: of the people.
      areas: of their crops, image px^2.
      sigmas: of the keypoints.
      threshold: people with a larger OKS are left out.

    Returns:
      The people that are kept, best first.
    """
    order, kept = np.argsort(-scores, kind="stable"), list[int]()
    while len(order):
        best, others = order[0], order[1:]
        kept.append(int(best))
        squared = np.sum((keypoints[others] - keypoints[best]) ** 2, axis=-1)
        area = (areas[others] + areas[best])[:, None] / 2
        alike = np.exp(-squared / (2 * (2 * sigmas) ** 2 * np.maximum(area, 1e-9)))
        order = others[alike.mean(axis=-1) <= threshold]
    return np.array(kept, int)
