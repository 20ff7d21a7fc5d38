"""Fields of COCO-style annotations that label tools leave out."""

import collections
from collections.abc import Mapping
from typing import Any

from data_pipeline.read.layouts import CROWDPOSE_AREA_OF_BOX

Notes = collections.Counter[str]


def derive_annotation(
    entry: Mapping[str, Any], num_keypoints: int, notes: Notes
) -> dict[str, Any]:
    """Fill in what an annotation lacks; what it has stays as it is.

    `notes` counts what was derived, by kind. A box comes from the outline, else from
    the labelled keypoints; an area from the outline, else 0.53 of the box, as in
    CrowdPose's official evaluation. What cannot be derived stays away, for the checks
    to name.
    """
    person = {name: value for name, value in entry.items() if value is not None}
    if not person.get("keypoints"):
        person["keypoints"] = [0] * (3 * num_keypoints)
        notes["boxes without keypoints: their people count as unlabelled"] += 1
    if type(person.get("iscrowd")) is not int:
        person["iscrowd"] = int(person.get("iscrowd") is True)
        notes["`iscrowd` as a number, 0 where it is missing"] += 1
    if "num_keypoints" not in person and isinstance(person["keypoints"], list):
        flags = person["keypoints"][2::3]
        person["num_keypoints"] = sum(flag in (1, 2) for flag in flags)
        notes["`num_keypoints` counted"] += 1
    outline = _outline(person)
    if not person.get("bbox") and (points := outline or _labelled(person)):
        person["bbox"] = _box(points)
        notes["`bbox` around the outline or the labelled keypoints"] += 1
    if not person.get("area") and len(person.get("bbox", ())) == 4:
        _, _, width, height = person["bbox"]
        if outline:
            person["area"] = _outline_area(person)
            notes["`area` of the outline"] += 1
        elif _are_numbers([width, height]):
            person["area"] = CROWDPOSE_AREA_OF_BOX * width * height
            notes[f"`area` as {CROWDPOSE_AREA_OF_BOX:g} of the box"] += 1
    return person


def derive_limbs(category: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The category, its limbs as places from 1 on where they are from 0 on."""
    limbs = category.get("skeleton") or []
    places = [place for limb in limbs if isinstance(limb, list) for place in limb]
    if 0 in places and max(places) < len(category["keypoints"]):
        limbs = [[place + 1 for place in limb] for limb in limbs]
        notes["limbs that count keypoints from 0"] += len(limbs)
    return {**category, "skeleton": limbs}


def _are_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)


def _outline(person: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Corners of the polygons; none if there are none, or they are damaged."""
    polygons = person.get("segmentation")
    if not isinstance(polygons, list) or not polygons:
        return []
    for polygon in polygons:
        if not isinstance(polygon, list) or not _are_numbers(polygon):
            return []
        if len(polygon) % 2:
            return []
    return [
        pair
        for polygon in polygons
        for pair in zip(polygon[::2], polygon[1::2], strict=True)
    ]


def _outline_area(person: Mapping[str, Any]) -> float:
    """Sum of the polygons' areas, by the shoelace formula."""
    total = 0.0
    for polygon in person["segmentation"]:
        x, y = polygon[::2], polygon[1::2]
        after = zip(x, y, x[1:] + x[:1], y[1:] + y[:1], strict=True)
        total += abs(sum(a * d - c * b for a, b, c, d in after)) / 2
    return total


def _labelled(person: Mapping[str, Any]) -> list[tuple[float, float]]:
    numbers = person["keypoints"]
    if not isinstance(numbers, list) or not _are_numbers(numbers) or len(numbers) % 3:
        return []
    triplets = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return [(x, y) for x, y, flag in triplets if flag > 0]


def _box(points: list[tuple[float, float]]) -> list[float]:
    x, y = zip(*points, strict=True)
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]
