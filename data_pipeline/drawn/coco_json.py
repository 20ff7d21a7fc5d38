"""COCO JSON: what a scene looks like in a COCO annotation file."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from data_pipeline.drawn.scene import Annotation
from logocap_jax.skeletons import COCO

PERSON = 1
_FINE = 4  # Contours run through pixel centres; finer pixels bring them to the edges.


def person_category() -> dict[str, Any]:
    """The one entry of `categories`; its skeleton counts keypoints from 1."""
    return {
        "supercategory": "person",
        "id": PERSON,
        "name": "person",
        "keypoints": list(COCO.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in COCO.limbs],
    }


def annotation_record(
    annotation: Annotation, *, image_id: int, annotation_id: int, category_id: int
) -> dict[str, Any]:
    """One entry of `annotations`.

    Args:
      annotation: a person or a crowd.
      image_id: id of its image.
      annotation_id: id of the entry, unique in its file.
      category_id: of what it is.

    Returns:
      The entry: `area` and `bbox` are those of the visible mask in image pixels, the
      segmentation is polygons, for a crowd uncompressed run lengths.
    """
    mask = annotation.mask
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return {
        "segmentation": run_lengths(mask) if annotation.is_crowd else polygons(mask),
        "num_keypoints": annotation.num_keypoints,
        "area": float(np.count_nonzero(mask)),
        "iscrowd": int(annotation.is_crowd),
        "keypoints": [
            int(value) if value.is_integer() else value
            for value in annotation.keypoints.ravel().tolist()
        ],
        "image_id": image_id,
        "bbox": [float(x), float(y), float(width), float(height)],
        "category_id": category_id,
        "id": annotation_id,
    }


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> dict[str, list[int]]:
    """Uncompressed run-length encoding.

    Args:
      mask: pixels to encode.

    Returns:
      `counts`: lengths of the runs of 0, 1, 0, .. down the columns; `size`: H, W.
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(starts, prepend=0, append=mask.size)
    return {"counts": counts.tolist(), "size": list(mask.shape)}


def polygons(mask: Bool[np.ndarray, "H W"]) -> list[list[float]]:
    """Outlines of a mask.

    COCO's polygons have no holes, so a mask is cut in two through each of its holes.

    Args:
      mask: pixels to outline.

    Returns:
      One `[x, y, x, y, ..]` per piece, in pixels, 0 at the image's edge.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[y : y + height, x : x + width].astype(np.uint8)
    fine = part.repeat(_FINE, axis=0).repeat(_FINE, axis=1)
    contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    hole = next((i for i in range(len(contours)) if tree[0, i, 3] >= 0), None)
    if hole is not None:
        corners = contours[hole][:, 0, 0]
        cut = x + int(corners.min() + corners.max()) // (2 * _FINE)
        left, right = mask.copy(), mask.copy()
        left[:, cut:], right[:, :cut] = False, False
        return polygons(left) + polygons(right)
    simple = (cv2.approxPolyDP(contour, _FINE / 2, True) for contour in contours)
    edges = [(contour[:, 0] + 0.5) / _FINE for contour in simple if len(contour) > 2]
    corner = np.array([x, y])
    return [np.round(corner + edge, 2).ravel().tolist() for edge in edges]
