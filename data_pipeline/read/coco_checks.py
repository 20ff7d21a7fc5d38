"""What a COCO-style entry must look like; each check says what it got instead."""

import pathlib
import reprlib
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from data_pipeline.read.images import MAX_PIXELS, MAX_SIDE
from data_pipeline.read.paths import is_plain_relative
from data_pipeline.read.segmentation import MAX_COORDINATE, check_segmentation

_Check = tuple[str, Callable[[Any], bool], str]


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    # NaN fails the comparison, infinity and huge integers exceed it.
    return type(value) in (int, float) and lowest <= value <= highest


def _is_side(value: Any) -> bool:
    return _is_integer(value) and 0 < value <= MAX_SIDE


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    lowest = (-MAX_COORDINATE, -MAX_COORDINATE, 0.0, 0.0)
    return all(
        _is_number(number, low, MAX_COORDINATE)
        for number, low in zip(value, lowest, strict=True)
    )


_IMAGE_FIELDS: tuple[_Check, ...] = (
    ("id", _is_integer, "an integer"),
    ("file_name", is_plain_relative, "a relative path that stays in its folder"),
    ("width", _is_side, f"1 to {MAX_SIDE} pixels"),
    ("height", _is_side, f"1 to {MAX_SIDE} pixels"),
)
_ANNOTATION_FIELDS: tuple[_Check, ...] = (
    # pycocotools reads the id 0 as "not matched".
    ("id", lambda value: _is_integer(value) and value != 0, "an integer but 0"),
    ("image_id", _is_integer, "an integer"),
    ("category_id", _is_integer, "an integer"),
    ("iscrowd", lambda value: _is_integer(value) and value in (0, 1), "0 or 1"),
    (
        "area",
        lambda value: _is_number(value, 0.0, MAX_COORDINATE**2),
        f"a number from 0 to {MAX_COORDINATE**2:g}",
    ),
    (
        "bbox",
        _is_box,
        f"[x, y, width, height], numbers up to {MAX_COORDINATE:g}, sides >= 0",
    ),
    ("keypoints", lambda value: isinstance(value, list), "a list of numbers"),
    (
        "num_keypoints",
        lambda value: _is_integer(value) and value >= 0,
        "the number of labelled keypoints",
    ),
)


def integer_field(entry: Any, name: str) -> int | None:
    """A field of an entry of any kind, None where it is no integer."""
    number = entry.get(name) if isinstance(entry, dict) else None
    return number if type(number) is int else None


def with_area(entry: Any, share: float) -> Any:
    """The entry with `share` of its box as its area, if it has a sound box."""
    if not isinstance(entry, dict) or not _is_box(entry.get("bbox")):
        return entry
    _, _, width, height = entry["bbox"]
    return {**entry, "area": width * height * share}


def image_faults(entry: Any, *, folder: pathlib.Path) -> list[str]:
    """List what is wrong with an entry of `images`; empty where nothing is.

    Args:
      entry: one parsed entry.
      folder: image folder, resolved (it may itself be a link).
    """
    faults = list(_field_faults(entry, _IMAGE_FIELDS))
    if not faults and entry["width"] * entry["height"] > MAX_PIXELS:
        size = f"{entry['width']}x{entry['height']}"
        faults.append(f"got {size} pixels, expected <= {MAX_PIXELS} in all")
    if not faults:
        faults.extend(_file_faults(folder, entry["file_name"]))
    return faults


def annotation_faults(
    entry: Any,
    *,
    images: Mapping[int, Mapping[str, Any]],
    listed: Set[int | None],
    category: int,
    num_keypoints: int,
) -> list[str]:
    """List what is wrong with an entry of `annotations`; empty where nothing is.

    Args:
      entry: one parsed entry.
      images: sound entries of `images` by id.
      listed: the ids of all entries of `images`.
      category: id of the category that has keypoints.
      num_keypoints: keypoints per person.
    """
    faults = list(_field_faults(entry, _ANNOTATION_FIELDS))
    if faults:
        return faults
    if entry["image_id"] not in listed:
        faults.append(f"got image_id {entry['image_id']}, expected a listed image")
    if entry["category_id"] != category:
        faults.append(f"got category_id {entry['category_id']}, expected {category}")
    faults.extend(_keypoint_faults(entry, num_keypoints))
    image = images.get(entry["image_id"])
    if image and entry.get("segmentation"):
        try:
            check_segmentation(entry["segmentation"], (image["height"], image["width"]))
        except ValueError as error:
            faults.append(str(error))
    return faults


def _file_faults(folder: pathlib.Path, file_name: str) -> Iterator[str]:
    try:
        path = (folder / file_name).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        yield f"got file_name {reprlib.repr(file_name)}, expected a file: {error!s:.80}"
        return
    if not path.is_relative_to(folder):
        yield f"got file_name {file_name!r}, a link out of {str(folder)!r}"
    elif not is_file:
        yield f"got no file {file_name!r}, expected it in {str(folder)!r}"


def _field_faults(entry: Any, checks: tuple[_Check, ...]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"got {reprlib.repr(entry)}, expected an object"
        return
    for field, holds, expected in checks:
        if field not in entry:
            yield f"got no `{field}`, expected {expected}"
        elif not holds(entry[field]):
            yield f"got {field} {reprlib.repr(entry[field])}, expected {expected}"


def _keypoint_faults(entry: dict[str, Any], num_keypoints: int) -> Iterator[str]:
    numbers = entry["keypoints"]
    if len(numbers) != 3 * num_keypoints:
        yield (
            f"got {len(numbers)} keypoint numbers, expected {3 * num_keypoints}: "
            f"x, y, visibility for each of {num_keypoints} keypoints"
        )
        return
    for index, number in enumerate(numbers):
        axis = "xyv"[index % 3]
        if axis == "v" and not (_is_number(number, 0.0, 2.0) and number in (0, 1, 2)):
            expected = "visibility 0, 1 or 2"
        elif axis != "v" and not _is_number(number, -MAX_COORDINATE, MAX_COORDINATE):
            expected = f"a finite coordinate up to {MAX_COORDINATE:g}"
        else:
            continue
        yield f"keypoint {index // 3}: got {axis}={number!r:.40}, expected {expected}"
        return
    if entry["num_keypoints"] and not any(numbers[2::3]):
        yield f"got num_keypoints {entry['num_keypoints']}, but none is labelled"
    if entry["area"] == 0 and any(numbers[2::3]):
        yield "got area 0 with labelled keypoints, expected a positive area"
