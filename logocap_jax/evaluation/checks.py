"""Checks of COCO annotations and results, where pycocotools scores nonsense.

pycocotools gives AP 1.0 to NaN keypoints or 50 numbers per pose, and a wrong AP to
perfect poses where an annotation has the id 0 or the id of another one.
"""

import logging
import numbers
from typing import Any

PERSON_FIELDS = (
    *("id", "image_id", "category_id", "iscrowd", "area", "bbox"),
    *("num_keypoints", "keypoints"),
)
# Above every float32, so that any pose of a model can be scored; squares are finite.
MAX_NUMBER = 1e39
RESULT_FIELDS = ("image_id", "category_id", "keypoints", "score")

_logger = logging.getLogger(__name__)


def check_ground_truth(
    truth: Any, *, num_keypoints: int, source: str = "ground truth"
) -> None:
    """Check COCO keypoint annotations.

    A person of area 0, whom no pose can match unless it is exact, is logged.

    Args:
      truth: what should be the content of a `person_keypoints_*.json`.
      num_keypoints: K.
      source: what to call it in an error, for instance the file name.

    Raises:
      ValueError: for the first record that lacks a field, has an id that is not an
        integer or not its own, refers to an unknown image or category, or holds a
        number that is not what COCO's format says.
    """
    if not isinstance(truth, dict):
        raise ValueError(f"{source}: got {_shown(truth)}, expected a COCO object")
    images, categories, people = (
        _ids(truth, name, source) for name in ("images", "categories", "annotations")
    )
    if 0 in people:
        raise ValueError(
            f"{source}: got an annotation of id 0, which pycocotools reads as 'not "
            "matched', expected ids from 1 on; renumber the annotations"
        )
    for person in truth["annotations"]:
        problem = _person_problem(person, num_keypoints, images, categories)
        if problem:
            raise ValueError(f"{source}: annotation {person['id']}: {problem}")
        if person["area"] == 0 and person["num_keypoints"] > 0:
            _logger.warning(
                "%s: annotation %d has keypoints but area 0, so that poses near it "
                "count as wrong",
                *(source, person["id"]),
            )


def check_results(
    results: Any, truth: dict[str, Any], *, num_keypoints: int, source: str = "results"
) -> None:
    """Check COCO keypoint results.

    Args:
      results: what should be a list of COCO keypoint results.
      truth: the annotations they are to be scored against, checked.
      num_keypoints: K.
      source: what to call the results in an error, for instance the file name.

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


def _ids(truth: dict[str, Any], name: str, source: str) -> set[int]:
    """Return the ids of one list of a COCO file, which must differ."""
    records = truth.get(name)
    if not isinstance(records, list):
        raise ValueError(
            f"{source}: got {_shown(records)} for {name!r}, expected a list of objects"
        )
    ids: set[int] = set()
    for index, record in enumerate(records):
        record_id: Any = record.get("id") if isinstance(record, dict) else None
        if not _is_integer(record_id):
            raise ValueError(
                f"{source}: {name}[{index}]: got id {_shown(record_id)}, expected an "
                "integer"
            )
        if record_id in ids:
            raise ValueError(
                f"{source}: {name}[{index}]: got id {record_id} a second time, "
                "expected every id once; renumber or drop one"
            )
        ids.add(record_id)
    return ids


def _person_problem(
    person: dict[str, Any], num_keypoints: int, images: set[int], categories: set[int]
) -> str | None:
    problem = _reference_problem(person, PERSON_FIELDS, images, categories)
    if problem:
        return problem
    area, box, triplets = person["area"], person["bbox"], person["keypoints"]
    if not _is_finite_list(box, 4) or min(box[2:]) < 0:
        return f"got bbox {_shown(box)}, expected x, y, width >= 0, height >= 0"
    if not _is_finite(area) or area < 0:
        return f"got area {_shown(area)}, expected a number of 0 or more"
    if not _is_finite_list(triplets, 3 * num_keypoints):
        return (
            f"got keypoints {_shown(triplets)}, expected {3 * num_keypoints} finite "
            f"numbers: x, y, visibility of {num_keypoints} keypoints"
        )
    visibilities = set(triplets[2::3])
    if not visibilities <= {0, 1, 2}:
        return f"got visibilities {sorted(visibilities)}, expected 0, 1 or 2"
    if person["iscrowd"] not in (0, 1):
        return f"got iscrowd {_shown(person['iscrowd'])}, expected 0 or 1"
    count = person["num_keypoints"]
    # CrowdPose does not count all it labels, so the number itself may be smaller.
    if not _is_integer(count) or count < 0 or (count > 0 and visibilities == {0}):
        return f"got num_keypoints {_shown(count)}, expected that of labelled keypoints"
    return None


def _result_problem(
    result: Any, num_keypoints: int, images: set[int], categories: set[int]
) -> str | None:
    if not isinstance(result, dict):
        return f"got {_shown(result)}, expected an object"
    problem = _reference_problem(result, RESULT_FIELDS, images, categories)
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
    record: dict[str, Any],
    fields: tuple[str, ...],
    images: set[int],
    categories: set[int],
) -> str | None:
    """Say what is wrong with the fields of a record and the ids it refers to."""
    missing = [field for field in fields if field not in record]
    if missing:
        return f"lacks {', '.join(missing)}; expected {', '.join(fields)}"
    for field, known in (("image_id", images), ("category_id", categories)):
        if not _is_integer(record[field]) or record[field] not in known:
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
