"""Crops of one person each: from boxes to inputs, also augmented ones.

Specification of spatial-aware regression, 4; frames are as in `affine`. Boxes are
`x0 y0 x1 y1`, image px.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float64

from data_pipeline.feed.affine import (
    area_scale,
    invert_affine,
    transform_boxes,
    transform_points,
    warp_image,
)
from data_pipeline.feed.examples import (
    Example,
    make_example,
)
from data_pipeline.feed.loss_masks import full_masks
from data_pipeline.read.images import decode_image
from data_pipeline.read.records import ImageRecord
from logocap_jax.skeletons import Skeleton

# Parts of the names of keypoints below the waist.
_LOWER = ("hip", "pelvis", "knee", "ankle", "toe", "heel", "foot")
# Of a half body: labelled keypoints in all, above and below; its size over theirs.
_LEAST, _LEAST_UPPER, _LEAST_LOWER, _HALF_PADDING = 9, 2, 3, 1.5
_PREFERS_UPPER = 0.7


@dataclasses.dataclass(frozen=True)
class Region:
    """The part of an image that a crop shows."""

    center: Float64[np.ndarray, "2"]  #: `(x, y)`, image px
    sides: Float64[np.ndarray, "2"]  #: width and height, image px
    rotation_deg: float = 0.0

    def affine(self, size: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
        """Transform from image px to a crop of `size` (width, height).

        The shorter side is enlarged to the crop's aspect; the region's middle is
        `(width / 2, height / 2)`.
        """
        factor = np.min(np.array(size) / np.maximum(self.sides, 1e-6))
        angle = np.deg2rad(self.rotation_deg)
        turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        linear = factor * np.array(turn)
        offset = np.array(size) / 2 - linear @ self.center
        return np.concatenate([linear, offset[:, None]], axis=1)


def box_region(box: Float[np.ndarray, "4"], padding: float) -> Region:
    """The region around a box, `padding` times as large."""
    corners = box.astype(np.float64)
    return Region(
        (corners[:2] + corners[2:]) / 2, padding * (corners[2:] - corners[:2])
    )


def corners_of(bbox: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Boxes `x y width height` as corners."""
    return np.concatenate([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]], axis=1)


@dataclasses.dataclass(frozen=True)
class CropAugmentation:
    """What to draw from; the defaults are those of the release."""

    mirror: float = 0.5  #: probability of mirroring
    half_body: float = 0.3  #: probability of showing the upper or the lower half only
    shift: float = 0.16  #: of the region's sides, times a normal cut to [-1, 1]
    shift_probability: float = 0.3
    scale: float = 0.5  #: the sides times 1 + this times such a normal
    rotation_deg: float = 80.0  #: times such a normal
    rotation_probability: float = 0.6

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
          ValueError: if one has no meaning.
        """
        names = ("mirror", "half_body", "shift_probability", "rotation_probability")
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"crop_augmentation: got {name}={getattr(self, name)}, expected a "
                    "probability"
                )
        if not (self.shift >= 0 and 0 <= self.scale < 1 and self.rotation_deg >= 0):
            raise ValueError(
                f"crop_augmentation: got shift={self.shift}, scale={self.scale}, "
                f"rotation_deg={self.rotation_deg}, expected 0 or more, scale below 1"
            )

    def draw(
        self,
        rng: np.random.Generator,
        region: Region,
        keypoints: Float[np.ndarray, "K 2"],
        labelled: Bool[np.ndarray, " K"],
        skeleton: Skeleton,
    ) -> Region:
        """Change a region: half body, then shift, scale and rotation.

        Keypoints, image px, are those of the person, mirrored if the image is.
        """
        if labelled.sum() >= _LEAST and rng.random() < self.half_body:
            region = _half_body(rng, region, keypoints, labelled, skeleton)
        shift = self.shift * _cut_normal(rng, 2) * region.sides
        shift *= rng.random() < self.shift_probability
        factor = 1 + self.scale * _cut_normal(rng, 1)
        rotation = self.rotation_deg * float(_cut_normal(rng, 1)[0])
        rotates = rng.random() < self.rotation_probability
        return Region(
            region.center + shift, region.sides * factor, rotation if rotates else 0.0
        )


def _cut_normal(rng: np.random.Generator, count: int) -> Float64[np.ndarray, " n"]:
    """Numbers of a normal distribution, drawn anew until they are within [-1, 1]."""
    values = rng.standard_normal(count)
    while np.any(outside := np.abs(values) > 1):
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values


def _half_body(
    rng: np.random.Generator,
    region: Region,
    keypoints: Float[np.ndarray, "K 2"],
    labelled: Bool[np.ndarray, " K"],
    skeleton: Skeleton,
) -> Region:
    """The region around the labelled keypoints of one half, if it has enough."""
    is_lower = np.array(
        [any(part in name for part in _LOWER) for name in skeleton.keypoints]
    )
    upper, lower = labelled & ~is_lower, labelled & is_lower
    halves = [
        half
        for half, least in ((upper, _LEAST_UPPER), (lower, _LEAST_LOWER))
        if half.sum() >= least
    ]
    if not halves:
        return region
    chosen = halves[0] if rng.random() < _PREFERS_UPPER else halves[-1]
    points = keypoints[chosen].astype(np.float64)
    extent = points.max(axis=0) - points.min(axis=0)
    if not np.any(extent > 0):
        return region
    return Region(points.mean(axis=0), _HALF_PADDING * extent)


def train_crop(
    record: ImageRecord,
    rng: np.random.Generator,
    *,
    skeleton: Skeleton,
    size: tuple[int, int],
    padding: float,
    augmentation: CropAugmentation,
) -> Example:
    """Crop, augment and pack the one person of a record, see `make_example`.

    Mirroring is that of the whole image (pixel `x` becomes `width - 1 - x`) before all
    else, so `mirrored` stays False: labels lie where pixels do.

    Raises:
      ValueError: if the image is unusable; names the record.
    """
    mirrors = rng.random() < augmentation.mirror and skeleton.mirrors
    to_mirror = np.eye(2, 3)
    if mirrors:
        to_mirror[0] = [-1, 0, record.width - 1]
        record = dataclasses.replace(
            record,
            keypoints=record.keypoints[:, skeleton.flip_index],
            visibility=record.visibility[:, skeleton.flip_index],
        )
    region = box_region(corners_of(record.bbox)[0], padding)
    center = transform_points(region.center, to_mirror)
    region = augmentation.draw(
        rng,
        dataclasses.replace(region, center=center),
        transform_points(record.keypoints[0], to_mirror),
        record.visibility[0] > 0,
        skeleton,
    )
    square = np.vstack([to_mirror, [0, 0, 1]])
    return pack_crop(record, region.affine(size) @ square, size)


def eval_crop(record: ImageRecord, *, size: tuple[int, int], padding: float) -> Example:
    """Crop and pack the one person of a record at test time.

    Returns the arrays of `make_example`, but `input_to_image` in float64; and
    `image_id` int64 [] and `image_size` int32 [2] (width, height).

    Raises:
      ValueError: if the image is unusable; names the record.
    """
    affine = box_region(corners_of(record.bbox)[0], padding).affine(size)
    return pack_crop(record, affine, size) | {
        "image_id": np.asarray(record.image_id, np.int64),
        "input_to_image": invert_affine(affine),
        "image_size": np.asarray((record.width, record.height), np.int32),
    }


def pack_crop(
    record: ImageRecord, affine: Float64[np.ndarray, "2 3"], size: tuple[int, int]
) -> Example:
    """The example of a record's one person under a transform, which may mirror."""
    photograph = np.array([-0.5, -0.5, record.width - 0.5, record.height - 0.5])
    return make_example(
        warp_image(decode_image(record), affine, size=size),
        masks=full_masks(size),
        keypoints=transform_points(record.keypoints, affine),
        labelled=record.visibility > 0,
        area=record.area * area_scale(affine),
        has_center=np.ones(1, bool),
        box=transform_boxes(corners_of(record.bbox), affine),
        max_people=1,
        content=transform_boxes(photograph, affine),
        input_to_image=invert_affine(affine),
    )
