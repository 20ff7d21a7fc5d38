"""Checks of COCO annotations and results, where pycocotools scores nonsense.

pycocotools gives AP 1.0 to NaN keypoints or 50 numbers per pose, and a wrong AP to
perfect poses where an annotation has the id 0 or the id of another one. The rules of
annotations are those of the reader: `data_pipeline.read.coco_checks`.
"""

import functools
import logging
import numbers
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from data_pipeline.read.coco_checks import (
    annotation_faults,
    check_entries,
    id_faults,
    integer_field,
    keypoint_truth,
)
from logocap_jax.evaluation.results import MAX_NUMBER, read_json

RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")

_logger = logging.getLogger(__name__)


def check_ground_truth(
    truth: Any, *, num_keypoints: int, source: str = "ground truth"
) -> dict[str, Any]:
    """Check COCO keypoint annotations; return the part to score against.

    That is without categories and annotations that have no keypoints
    (`coco_checks.keypoint_truth`). A person of area 0, whom no pose can match unless it
    is exact, is logged. `source` names the annotations in an error.

    Raises:
      ValueError: for the first record that lacks a field, has an id that is not an
        integer or not its own, refers to an unknown image or category, or holds a
        number that COCO's format rules out.
    """
    truth = keypoint_truth(truth, source)
    images = check_entries("image", truth["images"], id_faults)
    find_faults = functools.partial(
        annotation_faults,
        images={entry["id"] for entry in images.good},
        category=truth["categories"][0]["id"],
        num_keypoints=num_keypoints,
    )
    people = check_entries("annotation", truth["annotations"], find_faults)
    for name, reason in (*images.faults, *people.faults):
        raise ValueError(f"{source}: {name}: {reason}")
    for person in truth["annotations"]:
        if person["area"] == 0 and person["num_keypoints"] > 0:
            name = f"{source}: annotation {person['id']}"
            _logger.warning(
                "%s has keypoints but area 0, so that poses near it count as wrong",
                name,
            )
    return truth


def check_results(
    results: Any, truth: dict[str, Any], *, num_keypoints: int, source: str = "results"
) -> None:
    """Check COCO keypoint results against checked annotations.

    `source` names the results in an error.

    Raises:
      ValueError: for the first result that is not an object, lacks a field, has an
        unknown image or category, other than `3 K` keypoint numbers, or a number
        that is not finite.
    """
    if not isinstance(results, list):
        raise ValueError(f"{source}: got {_shown(results)}, expected a list of results")
    images, categories = (
        {record["id"] for record in truth[name]} for name in ("images", "categories")
    )
    for index, result in enumerate(results):
        problem = _result_problem(result, num_keypoints, images, categories)
        if problem:
            raise ValueError(f"{source}: result {index}: {problem}")


def _result_problem(
    result: Any, num_keypoints: int, images: set[int], categories: set[int]
) -> str | None:
    if not isinstance(result, dict):
        return f"got {_shown(result)}, expected an object"
    missing = [field for field in RESULT_FIELDS if field not in result]
    if missing:
        return f"lacks {', '.join(missing)}; expected {', '.join(RESULT_FIELDS)}"
    for field, ids in (("image_id", images), ("category_id", categories)):
        if integer_field(result, field) not in ids:
            return (
                f"got {field} {_shown(result[field])}, expected an id of the "
                "annotation file's images or categories"
            )
    if not _is_finite(result["score"]):
        return f"got score {_shown(result['score'])}, expected a finite number"
    if not _is_finite_list(result["keypoints"], 3 * num_keypoints):
        return (
            f"image {result['image_id']}: got keypoints {_shown(result['keypoints'])}, "
            f"expected {3 * num_keypoints} finite numbers: x, y, score of "
            f"{num_keypoints} keypoints"
        )
    return None


def _shown(value: Any) -> str:
    """Show the type of a value and the start of it."""
    if isinstance(value, list):
        return f"a list of {len(value)} ({str(value[:6])[1:60]}, ...)"
    text = repr(value) if isinstance(value, str) else str(value)  # one line
    return f"{text[:60]} ({type(value).__name__})"


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and bool(abs(value) <= MAX_NUMBER)  # NaN is not


def _is_finite_list(values: Any, length: int) -> bool:
    if not isinstance(values, list) or len(values) != length:
        return False
    if set(map(type, values)) <= {int, float}:  # as from JSON: millions, so quickly
        return all(map(MAX_NUMBER.__ge__, map(abs, values)))  # NaN is not
    return all(_is_finite(value) for value in values)


GroundTruth = str | Path | dict[str, Any]
Results = str | Path | list[dict[str, Any]]


def load_truth(
    ground_truth: GroundTruth,
    image_ids: Iterable[int] | None,
    *,
    num_keypoints: int,
    change: Callable[[Any], Any] = lambda truth: truth,
) -> tuple[str, dict[str, Any], list[int]]:
    """Read annotations, apply `change` and check that the images can be scored.

    Returns:
      The name of the annotations in an error, the annotations, and the ids of the
      images to score (by default all), ascending.

    Raises:
      ValueError: as `check_ground_truth`; or if an image is unknown, or nobody is in
        them who could be found.
      OSError: if a file is missing.
    """
    source, truth = _load(ground_truth, "ground truth")
    truth = check_ground_truth(
        change(truth), num_keypoints=num_keypoints, source=source
    )
    return source, truth, _images_to_score(truth, image_ids, source)


def _load(content: Any, name: str) -> tuple[str, Any]:
    """The name of some content in an error, and the content, read from its file."""
    if isinstance(content, str | Path):
        return str(content), read_json(Path(content))
    return name, content


def load_results(
    results: Results, truth: dict[str, Any], *, num_keypoints: int
) -> list[dict[str, Any]]:
    """Read and check results; an empty list is logged, an empty file is an error.

    Raises:
      ValueError: see `check_results`; or if a file holds no results.
      OSError: if a file is missing.
    """
    source, poses = _load(results, "results")
    check_results(poses, truth, num_keypoints=num_keypoints, source=source)
    if not poses and not isinstance(results, list):
        raise ValueError(
            f"{source}: got a file without any results, expected some; where nobody "
            "was found in any image, hand over [] to score 0"
        )
    if not poses:
        _logger.warning("%s: no poses at all, so every metric is 0", source)
    return poses


def _images_to_score(
    truth: dict[str, Any], image_ids: Iterable[int] | None, source: str
) -> list[int]:
    listed = {image["id"] for image in truth["images"]}
    scored = listed if image_ids is None else set(image_ids)
    if scored - listed:
        raise ValueError(
            f"{source}: got image id {min(scored - listed)} to score, expected ids of "
            f"its {len(listed)} images"
        )
    counts = [
        person["image_id"] in scored
        and person["num_keypoints"] > 0
        and not person["iscrowd"]
        for person in truth["annotations"]
    ]
    if not any(counts):
        raise ValueError(
            f"{source}: no valid ground truth: got {len(scored)} images to score, "
            "expected a person with labelled keypoints, not a crowd, in one of them"
        )
    return sorted(scored)
