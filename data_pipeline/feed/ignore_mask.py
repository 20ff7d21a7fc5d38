"""The loss mask: where an image says nothing certain about people.

Crowd regions and people without labelled keypoints look like people but carry no
keypoints; the loss leaves them out. So it does with everything outside the image
(reference behaviour: the mask is warped like the image, with zeros around it).
"""

import json

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int8, UInt8

from data_pipeline.read.records import ImageRecord
from data_pipeline.read.segmentation import decode_segmentation


def loss_mask(
    record: ImageRecord,
    affine: Float64[np.ndarray, "2 3"],
    *,
    size: tuple[int, int],
    stride: int = 4,
) -> UInt8[np.ndarray, "h w"]:
    """Warp the mask of a record to the cells of its input: 1 counts, 0 does not.

    Args:
      record: image and people.
      affine: image px to input px.
      size: `(width, height)` of the input, multiples of `stride`.
      stride: input px per cell.

    Raises:
      ValueError: if a segmentation cannot be decoded.
    """
    counts = ~ignored_region(record) * np.uint8(255)
    cells = (size[0] // stride, size[1] // stride)
    # Reference behaviour: bilinear on 0..255, then more than half counts.
    warped = cv2.warpAffine(counts, affine / stride, cells, flags=cv2.INTER_LINEAR)
    return (warped > 127).astype(np.uint8)


def ignored_region(record: ImageRecord) -> Bool[np.ndarray, "H0 W0"]:
    """Union of the segmentations of crowds and people without labelled keypoints.

    Raises:
      ValueError: if a segmentation cannot be decoded.
    """
    region = np.zeros((record.height, record.width), bool)
    for person in np.flatnonzero(is_ignored(record.visibility, record.iscrowd)):
        text = record.segmentation[person]
        if text:
            try:
                region |= decode_segmentation(json.loads(text), region.shape)
            except ValueError as error:
                raise ValueError(f"{record.name}: person {person}: {error}") from error
    return region


def is_ignored(
    visibility: Int8[np.ndarray, "n K"], iscrowd: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Crowds, and people without labelled keypoints."""
    return iscrowd | ~(visibility > 0).any(axis=1)
