"""COCO-style lists of several files as one, and of one file as two splits."""

import collections
from typing import Any

import numpy as np

from data_pipeline.prepare.derive import Notes
from data_pipeline.read.coco_checks import integer_field


def merge(contents: list[dict[str, Any]], names: str, notes: Notes) -> dict[str, Any]:
    """One set of lists of several; ids are counted anew where they must be."""
    (category,) = contents[0]["categories"]
    images: list[Any] = []
    people: list[Any] = []
    for content in contents:
        (own,) = content["categories"]
        if own["keypoints"] != category["keypoints"]:
            raise ValueError(
                f"{names}: got different keypoints, expected the same in all; say "
                "which files to take with --train FILE and --val FILE"
            )
        if len(contents) > 1 or not _are_ids(content["images"]):
            _count_images(content, len(images) + 1)
            notes["ids of images counted anew"] += len(content["images"])
        images += content["images"]
        people += [
            {**person, "category_id": category["id"]}
            if integer_field(person, "category_id") == own["id"]
            else person
            for person in content["annotations"]
        ]
    if len(contents) > 1 or not _are_ids(people) or _has_zero(people):
        people = [
            {**person, "id": number} if isinstance(person, dict) else person
            for number, person in enumerate(people, 1)
        ]
        notes["ids of annotations counted anew, from 1 on"] += len(people)
    if len(contents) > 1:
        _check_once(images, names)
    return {"images": images, "annotations": people, "categories": [category]}


def _are_ids(entries: list[Any]) -> bool:
    return all(integer_field(entry, "id") is not None for entry in entries)


def _has_zero(entries: list[Any]) -> bool:
    return any(integer_field(entry, "id") == 0 for entry in entries)


def _count_images(content: dict[str, Any], start: int) -> None:
    """Give images numbers from `start` on, and annotations those of their images."""
    numbers = {}
    for number, image in enumerate(content["images"], start):
        if isinstance(image, dict):
            numbers[str(image.get("id"))] = number
            image["id"] = number
    for person in content["annotations"]:
        if isinstance(person, dict):
            # A number that no image has stays wrong, for the checks to name.
            person["image_id"] = numbers.get(str(person.get("image_id")), -1)


def _check_once(images: list[Any], names: str) -> None:
    listed = [each.get("file_name") for each in images if isinstance(each, dict)]
    name, count = collections.Counter(listed).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{names}: got image {name!r:.80} {count} times, expected files that share "
            "none; say which to take with --train FILE and --val FILE"
        )


def hold_out(
    content: dict[str, Any], share: float, seed: int
) -> dict[str | None, dict[str, Any]]:
    """Images by chance into train and val, those with and without people alike."""
    shown = {integer_field(person, "image_id") for person in content["annotations"]}
    rng, chosen = np.random.default_rng(seed), set[int]()
    images = content["images"]
    for is_shown in (True, False):
        own = [
            place
            for place, image in enumerate(images)
            if (integer_field(image, "id") in shown) == is_shown
        ]
        count = round(share * len(own))
        if is_shown and share and len(own) > 1:
            count = min(max(count, 1), len(own) - 1)
        chosen |= set(rng.permutation(own)[:count].tolist())
    parts: dict[str | None, dict[str, Any]] = {}
    for split in ("train", "val"):
        kept = [
            image
            for place, image in enumerate(images)
            if (place in chosen) == (split == "val")
        ]
        if kept:
            parts[split] = _with_images(content, kept)
    return parts


def _with_images(content: dict[str, Any], images: list[Any]) -> dict[str, Any]:
    """These images and their people; people of no listed image stay with the first."""
    kept = {integer_field(image, "id") for image in images}
    listed = {integer_field(image, "id") for image in content["images"]}
    first = content["images"][0] in images
    people = [
        person
        for person in content["annotations"]
        if (number := integer_field(person, "image_id")) in kept
        or (first and number not in listed)
    ]
    return {**content, "images": images, "annotations": people}
