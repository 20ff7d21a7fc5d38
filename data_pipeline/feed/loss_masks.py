"""Where the loss counts: not on crowds, unlabelled people, nor outside of the image."""

import json
import math

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from data_pipeline.read.images import decode_segmentation
from data_pipeline.read.records import ImageRecord

MASK_STRIDES = (4,)


def full_masks(
    size: tuple[int, int], strides: tuple[int, ...] = MASK_STRIDES
) -> dict[int, UInt8[np.ndarray, "h w"]]:
    """Masks by stride in which every cell of an input `(width, height)` counts."""
    width, height = size
    return {
        stride: np.ones((height // stride, width // stride), np.uint8)
        for stride in strides
    }


def loss_masks(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int],
    strides: tuple[int, ...] = MASK_STRIDES,
) -> dict[int, UInt8[np.ndarray, "h w"]]:
    """Warp the mask of a record to the cells of its input, by stride: 1 counts, 0 not.

    The loss leaves out crowds, people without labelled keypoints, and everything
    outside the image (reference behaviour: the mask is warped like the image, with
    zeros around it). `affine` maps image px to input px; `size` is the input's `(width,
    height)`, multiples of the strides (input px per cell).

    Raises:
      ValueError: if a segmentation cannot be decoded.
    """
    counts = ~ignored_region(record) * np.uint8(255)
    masks = {}
    for stride in strides:
        cells = (size[0] // stride, size[1] // stride)
        # Reference behaviour: bilinear on 0..255, then more than half counts.
        warped = cv2.warpAffine(counts, affine / stride, cells, flags=cv2.INTER_LINEAR)
        masks[stride] = (warped > 127).astype(np.uint8)
    return masks


def ignored_region(record: ImageRecord) -> Bool[np.ndarray, "H0 W0"]:
    """Union of the regions of crowds and people without labelled keypoints.

    A person's region is the segmentation, or the box where there is none.

    Raises:
      ValueError: if a segmentation cannot be decoded.
    """
    region = np.zeros((record.height, record.width), bool)
    for person in np.flatnonzero(record.is_ignored):
        text = record.segmentation[person]
        if not text:
            x, y, width, height = record.bbox[person].clip(0)
            rows = slice(int(y), math.ceil(y + height))
            region[rows, int(x) : math.ceil(x + width)] = True
        else:
            try:
                region |= decode_segmentation(json.loads(text), region.shape)
            except ValueError as error:
                raise ValueError(f"{record.name}: person {person}: {error}") from error
    return region
