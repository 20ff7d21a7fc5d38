"""Reader of COCO-style keypoint annotations.

Everything is checked before anything is used, and all bad records are reported at
once: who repairs a file wants the whole list.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipeline.read.coco_checks import (
    CheckedEntries,
    annotation_faults,
    check_entries,
    check_parts,
    find_file,
    image_faults,
    integer_field,
    keypoint_annotations,
    keypoint_truth,
    training_faults,
    with_area,
)
from data_pipeline.read.layouts import find_layout
from data_pipeline.read.records import Fault, ImageRecord
from logocap_jax.skeletons import Skeleton

_LOG = logging.getLogger(__name__)


class AnnotationFile:
    """A COCO-style annotation file, read when it is first asked for, and once."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read nothing yet."""
        self.path = path

    def __getstate__(self) -> dict[str, Any]:
        """The path alone: input workers need nothing else."""
        return {"path": self.path}

    @functools.cached_property
    def content(self) -> Any:
        """The parsed file.

        Raises:
          ValueError: if it is not there, or is no JSON.
        """
        if not self.path.is_file():
            raise ValueError(
                f"{self.path}: got no such file, expected COCO-style annotations"
            )
        encoded = self.path.read_bytes()
        self.fingerprint = _fingerprint(encoded)
        try:
            return json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path}: got no JSON: {error!s:.200}") from error

    @functools.cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the file's SHA-256.

        Raises:
          OSError: if it is not there.
        """
        return _fingerprint(self.path.read_bytes())

    @functools.cached_property
    def truth(self) -> dict[str, Any]:
        """The people with keypoints, to score against: numbers as in the file.

        As `coco_checks.keypoint_truth`, without segmentations; `content` is freed.

        Raises:
          ValueError: if the file is not there, no JSON, or lacks a part.
        """
        truth = keypoint_truth(self.content, str(self.path))
        self.forget()
        truth["annotations"] = [
            {name: value for name, value in person.items() if name != "segmentation"}
            if isinstance(person, dict)
            else person
            for person in truth["annotations"]
        ]
        return truth

    def forget(self) -> None:
        """Free `content`: of COCO's training set it takes more than a gigabyte."""
        self.__dict__.pop("content", None)


@dataclasses.dataclass(frozen=True)
class CocoSplit:
    """The good records of one annotation file, in its order, and its faults."""

    records: tuple[ImageRecord, ...]  #: images whose every annotation is sound
    faults: tuple[Fault, ...]  #: all faults
    left_out: int  #: number of images that are listed but not in `records`
    #: Number of annotations of categories without keypoints; left out.
    num_other: int = 0
    num_counted: int = 0  #: people with keypoints whose `num_keypoints` is 0


def read_coco_split(
    root: pathlib.Path,
    split: str,
    skeleton: Skeleton,
    annotations: AnnotationFile | None = None,
) -> CocoSplit:
    """Read a split of a folder in a layout of `layouts`; see `read_coco`.

    Raises:
      ValueError: if the folder or the annotation file as a whole is unusable.
    """
    layout = find_layout(root, split)
    images = layout.image_folder(root, split)
    if annotations is None:
        annotations = AnnotationFile(layout.annotation_file(root, split))
    if split in layout.unlabelled:
        return read_image_list(annotations, images, skeleton)
    return read_coco(annotations, images, skeleton, area_of_box=layout.area_of_box)


def read_image_list(
    annotations: AnnotationFile, images: pathlib.Path, skeleton: Skeleton
) -> CocoSplit:
    """Read a list of images without annotations, such as COCO's test-dev.

    The skeleton sets the shape of the empty arrays of people.

    Raises:
      ValueError: if the file is not JSON, or lists no images.
    """
    source = str(annotations.path)
    check_parts(annotations.content, ("images",), source)
    entries, folder = annotations.content["images"], images.resolve()
    checked = check_entries(
        "image", entries, functools.partial(image_faults, folder=folder)
    )
    return CocoSplit(
        tuple(
            _record(entry, [], folder, skeleton.num_keypoints) for entry in checked.good
        ),
        tuple(Fault(source, *fault) for fault in checked.faults),
        left_out=len(entries) - len(checked.good),
    )


def read_coco(
    annotations: AnnotationFile,
    images: pathlib.Path,
    skeleton: Skeleton,
    *,
    area_of_box: float | None = None,
) -> CocoSplit:
    """Read and check an annotation file; faulty records are reported, not raised.

    An image with one bad annotation is left out as a whole: without that person the
    loss would teach that nobody is there. Annotations of categories without keypoints
    are left out and counted. Where annotations have no areas, `area_of_box` is a
    person's area as a share of the box.

    Raises:
      ValueError: if the file is not JSON, lacks a part, or holds other keypoints.
    """
    source, folder = str(annotations.path), images.resolve()
    truth = keypoint_truth(annotations.content, source)
    category = truth["categories"][0]
    _check_keypoints(category["keypoints"], skeleton, source)
    people_before = keypoint_annotations(annotations.content, category)
    pairs = zip(people_before, truth["annotations"], strict=True)
    num_counted = sum(counted is not entry for entry, counted in pairs)
    if area_of_box is not None:
        truth["annotations"] = [
            with_area(entry, area_of_box) for entry in truth["annotations"]
        ]
    sound = check_entries(
        "image", truth["images"], functools.partial(image_faults, folder=folder)
    )
    people = _check_people(truth, sound.good, skeleton.num_keypoints)
    records = _records(sound.good, people, folder, skeleton.num_keypoints)
    num_other = len(annotations.content["annotations"]) - len(truth["annotations"])
    if num_other:
        _LOG.info(
            "%s: left out %d annotations of categories without keypoints",
            source,
            num_other,
        )
    return CocoSplit(
        records=records,
        faults=tuple(Fault(source, *fault) for fault in sound.faults + people.faults),
        left_out=len(truth["images"]) - len(records),
        num_other=num_other,
        num_counted=num_counted,
    )


def _check_people(
    truth: dict[str, Any], images: Sequence[dict[str, Any]], num_keypoints: int
) -> CheckedEntries:
    listed = {integer_field(entry, "id") for entry in truth["images"]}
    by_id = {entry["id"]: entry for entry in images}
    category = truth["categories"][0]["id"]

    def find_faults(entry: Any) -> list[str]:
        faults = annotation_faults(
            entry, images=listed, category=category, num_keypoints=num_keypoints
        )
        return faults or list(training_faults(entry, by_id))

    return check_entries("annotation", truth["annotations"], find_faults)


def _records(
    images: Sequence[dict[str, Any]],
    people: CheckedEntries,
    folder: pathlib.Path,
    num_keypoints: int,
) -> tuple[ImageRecord, ...]:
    """Records of the images without a bad annotation."""
    spoiled = {integer_field(entry, "image_id") for entry in people.bad}
    people_of = collections.defaultdict(list)
    for entry in people.good:
        people_of[entry["image_id"]].append(entry)
    return tuple(
        _record(entry, people_of[entry["id"]], folder, num_keypoints)
        for entry in images
        if entry["id"] not in spoiled
    )


def _fingerprint(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()[:16]


def _check_keypoints(names: Sequence[str], skeleton: Skeleton, source: str) -> None:
    if len(names) != skeleton.num_keypoints:
        raise ValueError(
            f"{source}: got {len(names)} keypoints in `categories`, expected the "
            f"{skeleton.num_keypoints} of skeleton {skeleton.name!r}; keypoints of "
            "your own need a skeleton.toml beside `annotations`: docs/own_data.md"
        )
    for got, expected in zip(names, skeleton.keypoints, strict=True):
        if got != expected:
            raise ValueError(
                f"{source}: got keypoint {got!r:.40} in `categories`, expected "
                f"{expected!r} as in skeleton {skeleton.name!r}"
            )


def _record(
    image: dict[str, Any],
    people: list[dict[str, Any]],
    folder: pathlib.Path,
    num_keypoints: int,
) -> ImageRecord:
    packed = np.array([person["keypoints"] for person in people], np.float32)
    packed = packed.reshape(len(people), num_keypoints, 3)
    bbox = np.array([person["bbox"] for person in people], np.float32)
    record = ImageRecord(
        image_id=image["id"],
        file_name=image["file_name"],
        width=image["width"],
        height=image["height"],
        keypoints=packed[:, :, :2],
        visibility=packed[:, :, 2].astype(np.int8),
        bbox=bbox.reshape(len(people), 4),
        area=np.array([person["area"] for person in people], np.float32),
        iscrowd=np.array([person["iscrowd"] for person in people], bool),
        segmentation=("",) * len(people),
        image=find_file(folder, image["file_name"]),
    )
    # Segmentations are most of the file; only the loss mask needs some.
    segmentation = tuple(
        json.dumps(person["segmentation"])
        if ignored and person.get("segmentation")
        else ""
        for person, ignored in zip(people, record.is_ignored, strict=True)
    )
    return dataclasses.replace(record, segmentation=segmentation)
