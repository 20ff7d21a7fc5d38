"""The rules of COCO-style annotations; each check names the value it got instead.

The reader reports all faults at once; evaluation raises the first one.
"""

import collections
import pathlib
import reprlib
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from data_pipeline.read.images import (
    MAX_COORDINATE,
    MAX_PIXELS,
    MAX_SIDE,
    check_segmentation,
)

MAX_NAME_LENGTH = 1024
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")

_Check = tuple[str, Callable[[Any], bool], str]


class CheckedEntries(NamedTuple):
    """The entries of one list of a COCO-style file."""

    good: list[dict[str, Any]]  #: sound entries
    bad: list[Any]  #: all others
    faults: list[tuple[str, str]]  #: `(entry, reason)` of each fault


def check_parts(content: Any, parts: Sequence[str], source: str) -> None:
    """Check that a parsed file holds the lists of a COCO-style one.

    Raises:
      ValueError: for the first list that is missing.
    """
    for part in parts:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(
                f"{source}: got no list `{part}`, expected COCO-style JSON"
            )


def keypoint_category(categories: Any, source: str) -> dict[str, Any]:
    """The one category that names keypoints; an empty list and null name none.

    Raises:
      ValueError: unless there is exactly one, with an id of its own and distinct names.
    """
    entries = categories if isinstance(categories, list) else []
    entries = [entry for entry in entries if isinstance(entry, dict)]
    candidates = [entry for entry in entries if entry.get("keypoints")]
    if len(candidates) != 1:
        advice = (
            "remove the others" if candidates else "list there its keypoints' names"
        )
        raise ValueError(
            f"{source}: got {len(candidates)} `categories` with `keypoints`, ids "
            f"{[entry.get('id') for entry in candidates]!r:.80}, expected one; {advice}"
        )
    (category,) = candidates
    names, number = category["keypoints"], integer_field(category, "id")
    if not _are_names(names):
        raise ValueError(
            f"{source}: got keypoints {names!r:.80} in `categories`, expected names, "
            "each once"
        )
    times = sum(entry.get("id") == number for entry in entries)
    if number is None or times != 1:
        raise ValueError(
            f"{source}: `categories`: got id {category.get('id')!r:.40}, this id "
            f"{times} times, expected an integer of its own"
        )
    return category


def keypoint_truth(content: Any, source: str) -> dict[str, Any]:
    """Reduce a COCO-style file to what concerns keypoints.

    Keeps `images`, the one category with keypoints, and `annotations` without those of
    other listed categories; people who are said to have no keypoints are counted.

    Raises:
      ValueError: if a list is missing, or not exactly one category has keypoints.
    """
    check_parts(content, ("images", "annotations", "categories"), source)
    category = keypoint_category(content["categories"], source)
    people = keypoint_annotations(content, category)
    return {
        "images": content["images"],
        "annotations": [with_count(entry) for entry in people],
        "categories": [category],
    }


def keypoint_annotations(
    content: Mapping[str, Any], category: Mapping[str, Any]
) -> list[Any]:
    """The annotations that belong to no other listed category."""
    listed = {integer_field(entry, "id") for entry in content["categories"]}
    others = listed - {category["id"], None}
    return [
        entry
        for entry in content["annotations"]
        if integer_field(entry, "category_id") not in others
    ]


def check_entries(
    kind: str, entries: Sequence[Any], find_faults: Callable[[Any], list[str]]
) -> CheckedEntries:
    """Check the entries of one list, each by itself, and that ids are unique."""
    times = collections.Counter(integer_field(entry, "id") for entry in entries)
    checked = CheckedEntries([], [], [])
    for index, entry in enumerate(entries):
        number = integer_field(entry, "id")
        reasons = find_faults(entry)
        if number is not None and times[number] > 1:
            reasons.append(f"got this id {times[number]} times, expected it once")
        name = f"{kind}s[{index}]" if number is None else f"{kind} {number!r:.40}"
        checked.faults.extend((name, reason) for reason in reasons)
        (checked.bad if reasons else checked.good).append(entry)
    return checked


def id_faults(entry: Any) -> list[str]:
    """Faults of the id of an entry; nothing else is checked."""
    return list(_field_faults(entry, _IMAGE_FIELDS[:1]))


def image_faults(entry: Any, *, folder: pathlib.Path) -> list[str]:
    """Faults of an entry of `images`; the folder is resolved (it may be a link)."""
    faults = list(_field_faults(entry, _IMAGE_FIELDS))
    if not faults and entry["width"] * entry["height"] > MAX_PIXELS:
        size = f"{entry['width']}x{entry['height']}"
        faults.append(f"got {size} pixels, expected <= {MAX_PIXELS} in all")
    if not faults:
        faults.extend(_file_faults(folder, entry["file_name"]))
    return faults


def annotation_faults(
    entry: Any, *, images: Collection[int | None], category: int, num_keypoints: int
) -> list[str]:
    """Faults of an entry of `annotations`, apart from its segmentation.

    `images` are the ids of all entries, `category` is the id of the one with keypoints.
    """
    faults = list(_field_faults(entry, _ANNOTATION_FIELDS))
    if faults:
        return faults
    if entry["image_id"] not in images:
        faults.append(f"got image_id {entry['image_id']}, expected a listed image")
    if entry["category_id"] != category:
        faults.append(
            f"got category_id {entry['category_id']}, expected {category} or another "
            "listed category"
        )
    faults.extend(_keypoint_faults(entry, num_keypoints))
    return faults


def training_faults(
    entry: Any, images: Mapping[int, Mapping[str, Any]]
) -> Iterator[str]:
    """Faults of an otherwise sound annotation that matter to training alone."""
    if entry["area"] == 0 and any(entry["keypoints"][2::3]):
        yield "got area 0 with labelled keypoints, expected a positive area"
    image = images.get(entry["image_id"])
    if image and entry.get("segmentation"):
        try:
            check_segmentation(entry["segmentation"], (image["height"], image["width"]))
        except ValueError as error:
            yield str(error)


def integer_field(entry: Any, name: str) -> int | None:
    """A field of an entry of any kind, None where it is no integer."""
    number = entry.get(name) if isinstance(entry, dict) else None
    return number if _is_integer(number) else None


def with_count(entry: Any) -> Any:
    """The entry with its labelled keypoints counted, where it says none or nothing."""
    numbers = entry.get("keypoints") if isinstance(entry, dict) else None
    if not isinstance(numbers, list) or entry.get("num_keypoints", 0) != 0:
        return entry
    labelled = sum(flag in (1, 2) for flag in numbers[2::3])
    if labelled or "num_keypoints" not in entry:
        return {**entry, "num_keypoints": labelled}
    return entry


def with_area(entry: Any, share: float) -> Any:
    """The entry with `share` of its box as its area, if it has a sound box."""
    if not isinstance(entry, dict) or not _is_box(entry.get("bbox")):
        return entry
    _, _, width, height = entry["bbox"]
    return {**entry, "area": width * height * share}


def is_plain_relative(name: Any) -> bool:
    """`name` is text for a path that cannot, as written, leave its folder.

    Links are another matter: resolve the path before opening it.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        return False
    if not name.isprintable() or "\\" in name:
        return False
    path = pathlib.PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return _is_integer(value) and abs(value) < 2**63


def _is_number(value: Any, lowest: float, highest: float) -> bool:
    # NaN fails the comparison, infinity and huge integers exceed it.
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and bool(lowest <= value <= highest)


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


def _are_names(names: Any) -> bool:
    is_text = isinstance(names, list) and all(isinstance(n, str) for n in names)
    return is_text and len(set(names)) == len(names)


_IMAGE_FIELDS: tuple[_Check, ...] = (
    ("id", _is_id, "an integer"),
    ("file_name", is_plain_relative, "a relative path that stays in its folder"),
    ("width", _is_side, f"1 to {MAX_SIDE} pixels"),
    ("height", _is_side, f"1 to {MAX_SIDE} pixels"),
)
_ANNOTATION_FIELDS: tuple[_Check, ...] = (
    # pycocotools reads the id 0 as "not matched".
    ("id", lambda value: _is_id(value) and value != 0, "an integer but 0"),
    ("image_id", _is_id, "an integer"),
    ("category_id", _is_id, "an integer"),
    ("iscrowd", lambda value: isinstance(value, int) and value in (0, 1), "0 or 1"),
    (
        "bbox",
        _is_box,
        f"[x, y, width, height], numbers up to {MAX_COORDINATE:g}, sides >= 0",
    ),
    (
        "area",
        lambda value: _is_number(value, 0.0, MAX_COORDINATE**2),
        f"a number from 0 to {MAX_COORDINATE**2:g}",
    ),
    ("keypoints", lambda value: isinstance(value, list), "a list of numbers"),
    (
        "num_keypoints",
        lambda value: _is_id(value) and value >= 0,
        "the number of labelled keypoints",
    ),
)
# The fields of an annotation that scoring needs.
ANNOTATION_FIELDS = tuple(name for name, _, _ in _ANNOTATION_FIELDS)


def find_file(folder: pathlib.Path, file_name: str) -> pathlib.Path:
    """Path of a listed file, in whichever form of Unicode the disk has its name.

    macOS may take letters with accents apart (NFD), which annotations seldom do (NFC).
    """
    path = folder / file_name
    if file_name.isascii() or path.exists():
        return path
    forms = (folder / unicodedata.normalize(form, file_name) for form in _FORMS)
    return next((form for form in forms if form.exists()), path)


def _file_faults(folder: pathlib.Path, file_name: str) -> Iterator[str]:
    try:
        path = find_file(folder, file_name).resolve()
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
    elif not _are_plain_keypoints(numbers) and (fault := _number_fault(numbers)):
        yield fault
    elif entry["num_keypoints"] and not any(numbers[2::3]):
        yield f"got num_keypoints {entry['num_keypoints']}, but none is labelled"


def _are_plain_keypoints(numbers: list[Any]) -> bool:
    """Sound keypoints as JSON holds them; quick, for there are millions."""
    return (
        set(map(type, numbers)) <= {int, float}
        and all(map(MAX_COORDINATE.__ge__, map(abs, numbers)))  # NaN is not
        and set(numbers[2::3]) <= {0, 1, 2}
    )


def _number_fault(numbers: list[Any]) -> str | None:
    """The first number that cannot be."""
    for index, number in enumerate(numbers):
        axis = "xyv"[index % 3]
        if axis == "v" and not (_is_number(number, 0.0, 2.0) and number in (0, 1, 2)):
            expected = "visibility 0, 1 or 2"
        elif axis != "v" and not _is_number(number, -MAX_COORDINATE, MAX_COORDINATE):
            expected = f"a finite coordinate up to {MAX_COORDINATE:g}"
        else:
            continue
        return f"keypoint {index // 3}: got {axis}={number!r:.40}, expected {expected}"
    return None
