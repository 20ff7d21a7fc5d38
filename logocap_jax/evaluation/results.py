"""Poses of an image on the host, and the files that hold results."""

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from logocap_jax.atomic import replacing
from logocap_jax.structures import Poses

# Above every float32, so that any pose of a model can be scored; squares are finite.
MAX_NUMBER = 1e39


@dataclasses.dataclass(frozen=True)
class ImagePoses:
    """Poses of one image."""

    image_id: int  #: COCO image id
    keypoints: Float[np.ndarray, "n K 2"]  #: image px, pixel centres at integers
    keypoint_scores: Float[np.ndarray, "n K"]  #: one per keypoint
    scores: Float[np.ndarray, " n"]  #: one per pose
    #: Image px, before refinement; None if unknown.
    initial_keypoints: Float[np.ndarray, "n K 2"] | None = None
    #: Of the part of the image that each was found in, image px^2; None: all of it.
    areas: Float[np.ndarray, " n"] | None = None


def to_coco(poses: Iterable[ImagePoses], *, category_id: int = 1) -> list[dict]:
    """Turn poses into COCO keypoint results, images and poses in the given order.

    Each pose gives one `{image_id, category_id, keypoints, score, bbox}`: keypoints
    `[x, y, score] * K` and the box `[x, y, width, height]` around them, image px.

    Raises:
      ValueError: if a number of a pose is NaN or infinite.
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

    Raises:
      ValueError: if a number of a pose is NaN or infinite.
    """
    write_json(path, to_coco(poses, category_id=category_id))


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write strict JSON, all of it or nothing; an old file is replaced.

    Raises:
      ValueError: if the content holds NaN or an infinity, which JSON lacks.
    """
    text = json.dumps(content, allow_nan=False, indent=indent) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a number too large for a float (`1e999`) reads as infinity.

    Raises:
      ValueError: if the file is not Unicode, not JSON, cut short, or nested too deep.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a JSON file, got {error}; fetch or write it again"
        ) from error


def check_algorithm_name(name: str) -> None:
    """Check the name of the algorithm in a submission.

    Raises:
      ValueError: unless it can be part of the file's name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
        raise ValueError(
            f"got algorithm name {name!r:.60}, expected letters, digits, '.' and '-'"
        )


def write_submission(
    folder: Path,
    poses: Iterable[ImagePoses],
    *,
    algorithm: str,
    test_set: str = "test-dev2017",
) -> Path:
    """Write poses as COCO's server asks for keypoints, all of it or nothing.

    The file is `person_keypoints_<test set>_<algorithm>_results.zip`, of one JSON file
    with the same name; an old one is replaced. Coordinates are rounded to a hundredth
    of a pixel (COCO recommends a tenth, to keep files small) and scores to six digits.

    Raises:
      ValueError: if the name cannot be part of a file's, or a pose has a number that
        is NaN or infinite.
    """
    check_algorithm_name(algorithm)
    stem = f"person_keypoints_{test_set}_{algorithm}_results"
    results = [
        {
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            "keypoints": [
                round(number, 6 if index % 3 == 2 else 2)
                for index, number in enumerate(result["keypoints"])
            ],
            "score": round(result["score"], 6),
        }
        for result in to_coco(poses)
    ]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        # Without the time of writing: the same poses make the same file.
        archive.writestr(
            zipfile.ZipInfo(f"{stem}.json"),
            json.dumps(results, allow_nan=False, separators=(",", ":")),
            compress_type=zipfile.ZIP_DEFLATED,
        )
    path = folder / f"{stem}.zip"
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def to_image(
    points_input: Float[np.ndarray, "*prefix 2"],
    input_to_image: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "*prefix 2"]:
    """Map points from input px to image px (float32) by an affine transform."""
    transform = input_to_image.astype(np.float64)
    points = points_input @ transform[:, :2].T + transform[:, 2]
    return points.astype(np.float32)


def poses_of(
    poses: Poses, row: int, input_to_image: Float[np.ndarray, "2 3"]
) -> tuple[
    Float[np.ndarray, "n K 2"],
    Float[np.ndarray, "n K"],
    Float[np.ndarray, " n"],
    Float[np.ndarray, "n K 2"] | None,
]:
    """Take image `row` of a batch on the host, without the empty slots.

    Returns:
      Keypoints in image px, their scores, the poses' scores, and the keypoints before
      refinement in image px, where they are known.
    """
    kept = np.asarray(poses.valid)[row]
    keypoints, keypoint_scores, scores = (
        np.asarray(x)[row][kept]
        for x in (poses.keypoints, poses.keypoint_scores, poses.scores)
    )
    initial = None
    if poses.initial_keypoints is not None:
        initial = np.asarray(poses.initial_keypoints)[row][kept]
        initial = to_image(initial, input_to_image)
    return to_image(keypoints, input_to_image), keypoint_scores, scores, initial
