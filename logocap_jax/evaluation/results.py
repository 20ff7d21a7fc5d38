"""Poses of an image on the host, and the COCO result files that hold them."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from logocap_jax.atomic import replacing
from logocap_jax.evaluation.checks import MAX_NUMBER


@dataclasses.dataclass(frozen=True)
class ImagePoses:
    """The poses found in one image.

    Attributes:
      image_id: COCO image id.
      keypoints: image px, pixel centres at integers.
      keypoint_scores: one score per keypoint.
      scores: one score per pose.
      initial_keypoints: image px, before refinement; None where that is not known.
    """

    image_id: int
    keypoints: Float[np.ndarray, "n K 2"]
    keypoint_scores: Float[np.ndarray, "n K"]
    scores: Float[np.ndarray, " n"]
    initial_keypoints: Float[np.ndarray, "n K 2"] | None = None


def to_coco(poses: Iterable[ImagePoses], *, category_id: int = 1) -> list[dict]:
    """Turn poses into COCO keypoint results, images and poses in the given order.

    Args:
      poses: the poses, image by image.
      category_id: id of the category with keypoints; COCO's of `person`.

    Returns:
      One `{image_id, category_id, keypoints, score, bbox}` per pose: keypoints
      `[x, y, score] * K` and the `[x, y, width, height]` of the box around all
      keypoints, image px.

    Raises:
      ValueError: if a number of a pose is NaN, or too large to be one.
    """
    return [result for image in poses for result in _image_results(image, category_id)]


def _image_results(image: ImagePoses, category_id: int) -> Iterator[dict[str, Any]]:
    for index, score in enumerate(image.scores):
        # [K, 2]; in float64, the sides of a box are finite for any float32.
        points = image.keypoints[index].astype(np.float64)
        triplets = np.column_stack([points, image.keypoint_scores[index]])  # [K, 3]
        # NaN is not.
        if not (
            (abs(triplets) <= MAX_NUMBER).all() and abs(float(score)) <= MAX_NUMBER
        ):
            raise ValueError(
                f"image {image.image_id}, pose {index}: got a NaN or infinite keypoint "
                "or score, expected finite numbers; check the weights of the model"
            )
        low, high = points.min(axis=0), points.max(axis=0)
        yield {
            "image_id": image.image_id,
            "category_id": category_id,
            "keypoints": triplets.ravel().tolist(),
            "score": float(score),
            "bbox": [*low.tolist(), *(high - low).tolist()],
        }


def write_results(
    path: Path, poses: Iterable[ImagePoses], *, category_id: int = 1
) -> None:
    """Write poses as a COCO keypoint result file, all of it or nothing.

    Args:
      path: the JSON file; an old one is replaced.
      poses: the poses, image by image.
      category_id: as in `to_coco`.

    Raises:
      ValueError: if a number of a pose is NaN or infinite.
    """
    write_json(path, to_coco(poses, category_id=category_id))


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write strict JSON, all of it or nothing.

    Args:
      path: the file; an old one is replaced.
      content: what `json.dumps` takes.
      indent: spaces per level; none for one line.

    Raises:
      ValueError: if the content holds NaN or an infinity, which JSON lacks.
    """
    text = json.dumps(content, allow_nan=False, indent=indent) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that comes from elsewhere.

    Args:
      path: the file.

    Returns:
      The content. A number too large for a float (`1e999`) reads as infinity.

    Raises:
      ValueError: if the file is not Unicode, not JSON, cut short, or nested too deep.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a JSON file, got {error}; fetch or write it again"
        ) from error
