"""Reader of COCO-style keypoint annotations.

Everything is checked before anything is used, and all bad records are reported at
once: who repairs a file wants the whole list.
"""

import collections
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from data_pipeline.feed.ignore_mask import is_ignored
from data_pipeline.read.coco_checks import (
    annotation_faults,
    image_faults,
    integer_field,
    with_area,
)
from data_pipeline.read.faults import Fault
from data_pipeline.read.layouts import find_layout
from data_pipeline.read.records import ImageRecord
from logocap_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class CocoSplit:
    """The good records of one annotation file, in its order, and what was bad.

    Attributes:
      records: images whose every annotation is sound.
      faults: what was bad.
      left_out: number of images that are listed but not in `records`.
    """

    records: tuple[ImageRecord, ...]
    faults: tuple[Fault, ...]
    left_out: int


def annotation_file(root: pathlib.Path, split: str) -> pathlib.Path:
    """Where the folder of a data set keeps the annotations of a split."""
    return find_layout(root, split).annotation_file(root, split)


def read_coco_split(root: pathlib.Path, split: str, skeleton: Skeleton) -> CocoSplit:
    """Read a split of a folder in a layout of `layouts`; see `read_coco`.

    Raises:
      ValueError: if the folder or the annotation file as a whole is unusable.
    """
    layout = find_layout(root, split)
    images = layout.image_folder(root, split)
    annotations = layout.annotation_file(root, split)
    if split in layout.unlabelled:
        return read_image_list(annotations, images, skeleton)
    return read_coco(annotations, images, skeleton, area_of_box=layout.area_of_box)


def read_image_list(
    path: pathlib.Path, images: pathlib.Path, skeleton: Skeleton
) -> CocoSplit:
    """Read a list of images without annotations, such as COCO's test-dev.

    Args:
      path: COCO-style JSON of which only `images` counts.
      images: folder that `file_name`s are relative to.
      skeleton: of people that are not there; sets the arrays' shape.

    Raises:
      ValueError: if the file is not JSON, or lists no images.
    """
    content = _load(path, parts=("images",))
    folder = images.resolve()
    good, _, found = _checked(
        "image", content["images"], functools.partial(image_faults, folder=folder)
    )
    return CocoSplit(
        tuple(_record(entry, [], folder, skeleton.num_keypoints) for entry in good),
        tuple(Fault(str(path), *fault) for fault in found),
        left_out=len(content["images"]) - len(good),
    )


def read_coco(
    annotations: pathlib.Path,
    images: pathlib.Path,
    skeleton: Skeleton,
    *,
    area_of_box: float | None = None,
) -> CocoSplit:
    """Read and check an annotation file; faulty records are reported, not raised.

    An image with one bad annotation is left out as a whole: without that person the
    loss would teach that nobody is there.

    Args:
      annotations: COCO-style JSON.
      images: folder that `file_name`s are relative to.
      skeleton: what `keypoints` must hold.
      area_of_box: the area of a person, as a share of the box; if not given,
        annotations must have areas.

    Raises:
      ValueError: if the file is not JSON, lacks a part, or holds other keypoints.
    """
    content = _load(annotations)
    if area_of_box is not None:
        content["annotations"] = [
            with_area(entry, area_of_box) for entry in content["annotations"]
        ]
    folder = images.resolve()
    good_images, _, image_found = _checked(
        "image", content["images"], functools.partial(image_faults, folder=folder)
    )
    by_id = {entry["id"]: entry for entry in good_images}
    check_annotation = functools.partial(
        annotation_faults,
        images=by_id,
        listed={_id(entry) for entry in content["images"]},
        category=_keypoint_category(annotations, content["categories"], skeleton),
        num_keypoints=skeleton.num_keypoints,
    )
    good, bad, found = _checked("annotation", content["annotations"], check_annotation)
    spoiled = {integer_field(entry, "image_id") for entry in bad}
    people = collections.defaultdict(list)
    for entry in good:
        people[entry["image_id"]].append(entry)
    records = tuple(
        _record(entry, people[number], folder, skeleton.num_keypoints)
        for number, entry in by_id.items()
        if number not in spoiled
    )
    return CocoSplit(
        records=records,
        faults=tuple(Fault(str(annotations), *fault) for fault in image_found + found),
        left_out=len(content["images"]) - len(records),
    )


def _load(
    path: pathlib.Path,
    *,
    parts: Sequence[str] = ("images", "annotations", "categories"),
) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: got no such file, expected COCO-style annotations")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: got no JSON: {error!s:.200}") from error
    for part in parts:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(f"{path}: got no list `{part}`, expected COCO-style JSON")
    return content


def _keypoint_category(
    path: pathlib.Path, categories: Iterable[Any], skeleton: Skeleton
) -> int:
    """The id of the one category with keypoints."""
    found = [entry for entry in categories if isinstance(entry, dict)]
    found = [entry for entry in found if isinstance(entry.get("keypoints"), list)]
    if len(found) != 1 or type(found[0].get("id")) is not int:
        raise ValueError(
            f"{path}: got {len(found)} `categories` with `keypoints`, expected one "
            "that has an `id`"
        )
    names = found[0]["keypoints"]
    if len(names) != skeleton.num_keypoints:
        raise ValueError(
            f"{path}: got {len(names)} keypoints in `categories`, expected the "
            f"{skeleton.num_keypoints} of skeleton {skeleton.name!r}; keypoints of "
            "your own need a skeleton.toml beside `annotations`: docs/own_data.md"
        )
    for got, expected in zip(names, skeleton.keypoints, strict=True):
        if got != expected:
            raise ValueError(
                f"{path}: got keypoint {got!r:.40} in `categories`, expected "
                f"{expected!r} as in skeleton {skeleton.name!r}"
            )
    return found[0]["id"]


def _checked(
    kind: str, entries: list[Any], find_faults: Callable[[Any], list[str]]
) -> tuple[list[dict[str, Any]], list[Any], list[tuple[str, str]]]:
    """Split entries into sound and unsound ones; what is wrong with which."""
    times = collections.Counter(_id(entry) for entry in entries)
    good: list[dict[str, Any]] = []
    bad: list[Any] = []
    found: list[tuple[str, str]] = []
    for index, entry in enumerate(entries):
        number = _id(entry)
        faults = find_faults(entry)
        if number is not None and times[number] > 1:
            faults.append(f"got this id {times[number]} times, expected it once")
        name = f"{kind}s[{index}]" if number is None else f"{kind} {number!r:.40}"
        found.extend((name, fault) for fault in faults)
        if faults:
            bad.append(entry)
        else:
            good.append(entry)
    return good, bad, found


def _id(entry: Any) -> int | None:
    return integer_field(entry, "id")


def _record(
    image: dict[str, Any],
    people: list[dict[str, Any]],
    folder: pathlib.Path,
    num_keypoints: int,
) -> ImageRecord:
    packed = np.array([person["keypoints"] for person in people], np.float32)
    packed = packed.reshape(len(people), num_keypoints, 3)
    visibility = packed[:, :, 2].astype(np.int8)
    iscrowd = np.array([person["iscrowd"] for person in people], bool)
    bbox = np.array([person["bbox"] for person in people], np.float32)
    return ImageRecord(
        image_id=image["id"],
        file_name=image["file_name"],
        width=image["width"],
        height=image["height"],
        keypoints=packed[:, :, :2],
        visibility=visibility,
        bbox=bbox.reshape(len(people), 4),
        area=np.array([person["area"] for person in people], np.float32),
        iscrowd=iscrowd,
        # Nobody else needs theirs, and they are most of the file.
        segmentation=tuple(
            json.dumps(person["segmentation"])
            if ignored and person.get("segmentation")
            else ""
            for person, ignored in zip(
                people, is_ignored(visibility, iscrowd), strict=True
            )
        ),
        image=folder / image["file_name"],
    )
