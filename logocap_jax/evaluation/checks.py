"""Checks of COCO annotations and results, where pycocotools scores nonsense.

pycocotools gives AP 1.0 to NaN keypoints or 50 numbers per pose, and a wrong AP to
perfect poses where an annotation has the id 0 or the id of another one. The rules of
annotations are those of the reader: `data_pipeline.read.coco_checks`.
"""

import functools
import logging
import numbers
from typing import Any

from data_pipeline.read.coco_checks import (
    annotation_faults,
    check_entries,
    id_faults,
    keypoint_truth,
)

# Above every float32, so that any pose of a model can be scored; squares are finite.
MAX_NUMBER = 1e39
RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")

_logger = logging.getLogger(__name__)


def check_ground_truth(
    truth: Any, *, num_keypoints: int, source: str = "ground truth"
) -> dict[str, Any]:
    """Check COCO keypoint annotations.

    A person of area 0, whom no pose can match unless it is exact, is logged.

    Args:
      truth: parsed content of a `person_keypoints_*.json`.
      num_keypoints: K.
      source: name in an error, for instance the file's.

    Returns:
      The part to score against: without categories and annotations that have no
      keypoints, see `coco_checks.keypoint_truth`.

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
            _logger.warning(
                "%s: annotation %d has keypoints but area 0, so that poses near it "
                "count as wrong",
                *(source, person["id"]),
            )
    return truth


def check_results(
    results: Any, truth: dict[str, Any], *, num_keypoints: int, source: str = "results"
) -> None:
    """Check COCO keypoint results.

    Args:
      results: a list of COCO keypoint results.
      truth: the annotations to score against, checked.
      num_keypoints: K.
      source: name of the results in an error, for instance the file's.

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
    problem = _reference_problem(result, images, categories)
    if problem:
        return problem
    if not _is_finite(result["score"]):
        return f"got score {_shown(result['score'])}, expected a finite number"
    if not _is_finite_list(result["keypoints"], 3 * num_keypoints):
        return (
            f"image {result['image_id']}: got keypoints {_shown(result['keypoints'])}, "
            f"expected {3 * num_keypoints} finite numbers: x, y, score of "
            f"{num_keypoints} keypoints"
        )
    return None


def _reference_problem(
    record: dict[str, Any], images: set[int], categories: set[int]
) -> str | None:
    """The fault of a result's fields, or of the ids that it refers to."""
    missing = [field for field in RESULT_FIELDS if field not in record]
    if missing:
        return f"lacks {', '.join(missing)}; expected {', '.join(RESULT_FIELDS)}"
    for field, ids in (("image_id", images), ("category_id", categories)):
        if not _is_integer(record[field]) or record[field] not in ids:
            return (
                f"got {field} {_shown(record[field])}, expected an id of the "
                "annotation file's images or categories"
            )
    return None


def _shown(value: Any) -> str:
    """Show the type of a value and the start of it."""
    if isinstance(value, list):
        return f"a list of {len(value)} ({str(value[:6])[1:60]}, ...)"
    text = repr(value) if isinstance(value, str) else str(value)  # one line
    return f"{text[:60]} ({type(value).__name__})"


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and bool(abs(value) <= MAX_NUMBER)  # NaN is not


def _is_finite_list(values: Any, length: int) -> bool:
    if not isinstance(values, list) or len(values) != length:
        return False
    if set(map(type, values)) <= {int, float}:  # as from JSON: millions, so quickly
        return all(map(MAX_NUMBER.__ge__, map(abs, values)))  # NaN is not
    return all(_is_finite(value) for value in values)
