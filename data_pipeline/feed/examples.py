"""From a record to the arrays of one example: the fields of `structures.Batch`.

Keypoints are shipped in input px also where they lie outside the input, people
padded to a fixed number; what a method makes of them is not decided here.
"""

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from data_pipeline.feed.affine import (
    area_scale,
    eval_affine,
    eval_input_size,
    transform_points,
    warp_image,
)
from data_pipeline.feed.augment import Augmentation
from data_pipeline.feed.ignore_mask import loss_mask
from data_pipeline.read.images import decode_image
from data_pipeline.read.records import ImageRecord
from logocap_jax.skeletons import Skeleton

Example = dict[str, np.ndarray]

MIN_CENTER_AREA = 32.0**2


def train_example(
    record: ImageRecord,
    rng: np.random.Generator,
    *,
    skeleton: Skeleton,
    input_size: int,
    augmentation: Augmentation,
    max_people: int,
) -> Example:
    """Decode, augment and pack a record into a square training example.

    Args:
      record: image and people.
      rng: source of the augmentation's randomness.
      skeleton: which keypoints a mirror swaps.
      input_size: side of the input, input px.
      augmentation: ranges of the random similarity.
      max_people: slots; beyond them the largest people stay.

    Returns:
      `image` uint8 [H, W, 3], `mask` uint8 [h, w], `keypoints` float32 [P, K, 2]
      (input px), `labelled` bool [P, K], `area` float32 [P] (input px^2), `person`
      and `has_center` bool [P], `mirrored` bool [], `box` float32 [P, 4].

    Raises:
      ValueError: if the image or a segmentation is unusable; names the record.
    """
    affine, mirrored = augmentation.draw(
        rng, image_size=(record.width, record.height), input_size=input_size
    )
    size = (input_size, input_size)
    example = _warped(record, affine, size=size, max_people=max_people)
    if mirrored:
        _mirror(example, skeleton)
    return example


def eval_example(
    record: ImageRecord, *, short_side: int, max_people: int, multiple: int = 64
) -> Example:
    """Decode and pack a record as it is seen at test time.

    Args:
      record: image and people.
      short_side: input px, rounded up to a multiple of `multiple`.
      max_people: slots; beyond them the largest people stay.
      multiple: both input sides are multiples of this.

    Returns:
      The arrays of `train_example`, and `image_id` int64 [], `input_to_image`
      float64 [2, 3] and `image_size` int32 [2] (width, height).

    Raises:
      ValueError: if the image or a segmentation is unusable; names the record.
    """
    image_size = (record.width, record.height)
    size = eval_input_size(image_size, short_side=short_side, multiple=multiple)
    affine = eval_affine(image_size, size)
    inverse = np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))[:2]
    return _warped(record, affine, size=size, max_people=max_people) | {
        "image_id": np.asarray(record.image_id, np.int64),
        "input_to_image": inverse,
        "image_size": np.asarray(image_size, np.int32),
    }


def _warped(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int],
    max_people: int,
) -> Example:
    people = _people(record, affine, max_people=max_people)
    return people | {
        "image": warp_image(decode_image(record), affine, size=size),
        "mask": loss_mask(record, affine, size=size),
        "mirrored": np.asarray(False),
    }


def _people(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    *,
    max_people: int,
    min_center_area: float = MIN_CENTER_AREA,
) -> Example:
    """People with a labelled keypoint, in annotation order, padded."""
    labelled = record.visibility > 0
    chosen = _largest(np.flatnonzero(labelled.any(axis=1)), record.area, max_people)
    count, num_keypoints = len(chosen), record.visibility.shape[1]
    example = {
        "keypoints": np.zeros((max_people, num_keypoints, 2), np.float32),
        "labelled": np.zeros((max_people, num_keypoints), bool),
        "area": np.ones(max_people, np.float32),
        "person": np.arange(max_people) < count,
        "has_center": np.zeros(max_people, bool),
        "box": np.zeros((max_people, 4), np.float32),
    }
    example["keypoints"][:count] = transform_points(record.keypoints[chosen], affine)
    example["labelled"][:count] = labelled[chosen]
    example["area"][:count] = record.area[chosen] * area_scale(affine)
    example["has_center"][:count] = record.area[chosen] >= min_center_area
    return example


def _largest(
    people: np.ndarray, area: Float32[np.ndarray, " n"], count: int
) -> np.ndarray:
    by_area = people[np.argsort(-area[people], kind="stable")]
    return np.sort(by_area[:count])


def _mirror(example: Example, skeleton: Skeleton) -> None:
    """Mirror an example in place: pixels, points, and which side they are of."""
    width = example["image"].shape[1]
    for name in ("image", "mask"):
        example[name] = cv2.flip(example[name], 1)  # around the vertical axis
    example["keypoints"][..., 0] = width - 1 - example["keypoints"][..., 0]
    example["keypoints"] = example["keypoints"][:, skeleton.flip_index]
    example["labelled"] = example["labelled"][:, skeleton.flip_index]
    example["mirrored"] = np.asarray(True)
