"""From a record to the arrays of one example: the fields of `structures.Batch`.

Keypoints are shipped in input px also where they lie outside the input, people
padded to a fixed number; what a method makes of them is not decided here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8

from data_pipeline.feed.affine import (
    Augmentation,
    area_scale,
    eval_affine,
    eval_input_size,
    invert_affine,
    mirror_affine,
    transform_boxes,
    transform_points,
    warp_image,
)
from data_pipeline.feed.loss_masks import MASK_STRIDES, full_masks, loss_masks
from data_pipeline.read.images import decode_image
from data_pipeline.read.records import ImageRecord
from logocap_jax.skeletons import Skeleton

# Arrays by name; `masks` are arrays by stride.
Example = dict[str, Any]

MIN_CENTER_AREA = 32.0**2


def _visible_extent(record: ImageRecord) -> Float64[np.ndarray, " n"]:
    """Squared diagonal of the labelled keypoints' box, image px^2; at least 1."""
    labelled = record.visibility[..., None] > 0
    points = record.keypoints.astype(np.float64)
    low = np.min(points, axis=1, where=labelled, initial=np.inf)
    high = np.max(points, axis=1, where=labelled, initial=-np.inf)
    return np.square(np.maximum(high - low, 0)).sum(axis=-1).clip(min=1)


def _far_corner(record: ImageRecord) -> Float64[np.ndarray, " n"]:
    """Squared distance of the labelled keypoints' far corner from the image's origin.

    At least 1 image px^2. The reference means the extent, but takes it over an array
    with rows of zeros.
    """
    labelled = record.visibility[..., None] > 0
    points = record.keypoints.astype(np.float64)
    high = np.max(points, axis=1, where=labelled, initial=0)
    return np.square(high).sum(axis=-1).clip(min=1)


PERSON_SIZES: Mapping[str, Callable[[ImageRecord], Float64[np.ndarray, " n"]]] = {
    "area": lambda record: record.area.astype(np.float64),
    "box": lambda record: np.prod(record.bbox[:, 2:], axis=1, dtype=np.float64),
    "extent": _visible_extent,
    "origin": _far_corner,
}
"""How people are measured: their sizes by a record, image px^2."""


def make_example(
    image: UInt8[np.ndarray, "H W 3"],
    *,
    masks: Mapping[int, UInt8[np.ndarray, "h w"]],
    keypoints: Float[np.ndarray, "n K 2"],
    labelled: Bool[np.ndarray, "n K"],
    area: Float[np.ndarray, " n"],
    has_center: Bool[np.ndarray, " n"],
    box: Float[np.ndarray, "n 4"],
    max_people: int,
    size: Float[np.ndarray, " n"] | None = None,
    mirrored: bool = False,
    content: Float[np.ndarray, "4"] | None = None,
    input_to_image: Float[np.ndarray, "2 3"] | None = None,
) -> Example:
    """The arrays of one example: every field of `structures.Batch`, without `B`.

    All that makes batches goes through this function. Arguments are in input px, as the
    fields of the same names are.

    Args:
      image: RGB.
      masks: by stride.
      keypoints: of the people in the image.
      labelled: keypoint is annotated.
      area: of the people.
      has_center: person is large enough to own a pose centre.
      box: `x0 y0 x1 y1`.
      max_people: P, slots that people are padded to.
      size: of the people, in float64; `area` if not given.
      mirrored: the image was mirrored.
      content: box of the photograph; the whole input if not given.
      input_to_image: transform to the image; the identity if not given.

    Raises:
      ValueError: if there are more people than slots.
    """
    count, (height, width) = len(area), image.shape[:2]
    if count > max_people:
        raise ValueError(f"got {count} people, expected up to {max_people}")
    if content is None:
        content = np.array([-0.5, -0.5, width - 0.5, height - 0.5])
    if input_to_image is None:
        input_to_image = np.eye(2, 3)
    exact = np.ones(max_people)
    exact[:count] = area if size is None else size
    rounded = exact.astype(np.float32)

    def padded(values: np.ndarray, dtype: type, fill: float = 0.0) -> np.ndarray:
        array = np.full((max_people, *values.shape[1:]), fill, dtype)
        array[:count] = values
        return array

    return {
        "image": image,
        "masks": dict(masks),
        "keypoints": padded(keypoints, np.float32),
        "labelled": padded(labelled, bool),
        "area": padded(area, np.float32, fill=1.0),
        "size": np.stack([rounded, exact - rounded], axis=-1).astype(np.float32),
        "person": padded(np.any(labelled, axis=1), bool),
        "has_center": padded(has_center, bool),
        "mirrored": np.asarray(mirrored),
        "box": padded(box, np.float32),
        "content": np.asarray(content, np.float32),
        "input_to_image": np.asarray(input_to_image, np.float32),
        "scaled": (),
    }


def empty_example(
    size: tuple[int, int],
    *,
    num_keypoints: int,
    max_people: int,
    mask_strides: tuple[int, ...] = MASK_STRIDES,
) -> Example:
    """A black image `(width, height)` without people, to plan and to measure with."""
    width, height = size
    return make_example(
        np.zeros((height, width, 3), np.uint8),
        masks=full_masks(size, mask_strides),
        keypoints=np.zeros((0, num_keypoints, 2)),
        labelled=np.zeros((0, num_keypoints), bool),
        area=np.zeros(0),
        has_center=np.zeros(0, bool),
        box=np.zeros((0, 4)),
        max_people=max_people,
    )


def map_example(function: Callable[..., Any], example: Any, *others: Any) -> Any:
    """Apply a function to each array of an example, with those of others beside.

    An example, or a part of it: arrays in dicts and tuples.
    """
    if isinstance(example, dict):
        return {
            name: map_example(function, value, *(other[name] for other in others))
            for name, value in example.items()
        }
    if isinstance(example, tuple):
        parts = zip(example, *others, strict=True)
        return tuple(map_example(function, *part) for part in parts)
    return function(example, *others)


def stack_examples(examples: list[Example]) -> Example:
    """One batch of some examples."""
    batch: Example = map_example(lambda *arrays: np.stack(arrays), *examples)
    return batch


def train_example(
    record: ImageRecord,
    rng: np.random.Generator,
    *,
    skeleton: Skeleton,
    input_size: int,
    augmentation: Augmentation,
    max_people: int,
    mask_strides: tuple[int, ...] = MASK_STRIDES,
    person_size: str = "area",
    min_center_area: float = MIN_CENTER_AREA,
) -> Example:
    """Decode, augment and pack a record into a square example, see `make_example`.

    Arguments are as in `make_train_dataset`; `max_people` slots hold the largest
    people, those with keypoints first.

    Raises:
      ValueError: if the image or a segmentation is unusable; names the record.
    """
    affine, mirrored = augmentation.draw(
        rng, image_size=(record.width, record.height), input_size=input_size
    )
    mirrored = mirrored and skeleton.mirrors
    example = _warped(
        record,
        affine,
        size=(input_size, input_size),
        max_people=max_people,
        mask_strides=mask_strides,
        person_size=person_size,
        min_center_area=min_center_area,
        mirrored=mirrored,
    )
    if mirrored:
        _mirror(example, skeleton)
    return example


def eval_example(
    record: ImageRecord,
    *,
    short_side: int,
    max_people: int,
    multiple: int = 64,
    rounding: str = "half up",
    mask_strides: tuple[int, ...] = MASK_STRIDES,
    person_size: str = "area",
    min_center_area: float = MIN_CENTER_AREA,
    scales: tuple[int | float, ...] = (),
) -> Example:
    """Decode and pack a record at test time; arguments are as in `make_eval_batches`.

    Returns the arrays of `make_example`, but `input_to_image` in float64; and
    `image_id` int64 [], `image_size` int32 [2] (width, height), and `scaled`, a tuple
    with the image at each further scale.

    Raises:
      ValueError: if the image or a segmentation is unusable; names the record.
    """
    image_size = (record.width, record.height)
    size = eval_input_size(
        image_size, short_side=short_side, multiple=multiple, rounding=rounding
    )
    affine = eval_affine(image_size, size, rounding)
    example = _warped(
        record,
        affine,
        size=size,
        max_people=max_people,
        mask_strides=mask_strides,
        person_size=person_size,
        min_center_area=min_center_area,
    )
    return example | {
        "image_id": np.asarray(record.image_id, np.int64),
        # Poses go back to the image by it, on the host.
        "input_to_image": invert_affine(affine),
        "image_size": np.asarray(image_size, np.int32),
        "scaled": tuple(_at_scales(record, affine, size, scales)),
    }


def _at_scales(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    size: tuple[int, int],
    scales: tuple[int | float, ...],
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The image warped to inputs as many times as large as at scale 1."""
    if scales:
        pixels = decode_image(record)
    for scale in scales:
        scaled = int(size[0] * scale), int(size[1] * scale)
        yield warp_image(pixels, scale * affine, size=scaled)


def _warped(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int],
    max_people: int,
    mask_strides: tuple[int, ...],
    person_size: str,
    min_center_area: float,
    mirrored: bool = False,
) -> Example:
    """The example of a warped record; pixels and keypoints are not mirrored yet."""
    people = _chosen_people(record, max_people)
    # Between the outer edges of its pixels.
    photograph = np.array([-0.5, -0.5, record.width - 0.5, record.height - 0.5])
    corner, sides = np.split(record.bbox[people].astype(np.float64), 2, axis=1)
    boxes = np.concatenate([corner, corner + sides], axis=1)
    to_input = mirror_affine(affine, size[0]) if mirrored else affine
    return make_example(
        warp_image(decode_image(record), affine, size=size),
        masks=loss_masks(record, affine, size=size, strides=mask_strides),
        keypoints=transform_points(record.keypoints[people], affine),
        labelled=record.visibility[people] > 0,
        area=record.area[people] * area_scale(affine),
        size=PERSON_SIZES[person_size](record)[people] * area_scale(affine),
        has_center=record.area[people] >= min_center_area,
        box=transform_boxes(boxes, to_input),
        max_people=max_people,
        mirrored=mirrored,
        content=transform_boxes(photograph, to_input),
        input_to_image=invert_affine(to_input),
    )


def _chosen_people(record: ImageRecord, max_people: int) -> Int[np.ndarray, " n"]:
    """People with a labelled keypoint, then all others but crowds.

    The largest if they are too many; those of a kind in annotation order.
    """
    first = _largest(record.has_keypoints, record.area, max_people)
    is_other = ~record.has_keypoints & ~record.iscrowd
    rest = _largest(is_other, record.area, max_people - len(first))
    return np.concatenate([first, rest])


def _largest(
    candidates: Bool[np.ndarray, " n"], area: Float32[np.ndarray, " n"], count: int
) -> Int[np.ndarray, " m"]:
    people = np.flatnonzero(candidates)
    by_area = people[np.argsort(-area[people], kind="stable")]
    return np.sort(by_area[:count])


def _mirror(example: Example, skeleton: Skeleton) -> None:
    """Mirror pixels and keypoints in place, and swap left and right."""

    def flip(pixels: np.ndarray) -> np.ndarray:
        return cv2.flip(pixels, 1)  # around the vertical axis

    example["image"] = flip(example["image"])
    example["masks"] = map_example(flip, example["masks"])
    last = example["image"].shape[1] - 1
    example["keypoints"][..., 0] = last - example["keypoints"][..., 0]
    for name in ("keypoints", "labelled"):
        example[name] = example[name][:, skeleton.flip_index]
