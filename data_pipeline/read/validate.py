"""Every bad record of a data set, found before training."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import tqdm

from data_pipeline.read.coco import AnnotationFile, CocoSplit, read_coco_split
from data_pipeline.read.doubts import Doubt, Doubts
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.images import decode_image
from data_pipeline.read.layouts import SPLITS, annotation_file, is_prepared
from data_pipeline.read.records import Fault, ImageRecord, image_fault
from data_pipeline.read.sources import PreparedSource, RecordSource, Source
from logocap_jax.skeletons import Skeleton

_AREAS = (32**2, 96**2)  # px^2, where COCO's medium and large people begin


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """The state of a split."""

    images: int  #: number of listed images
    good: int  #: number of sound images, their people included
    people: int  #: number of people in these
    other: int  #: number of annotations of categories without keypoints; left out
    faults: tuple[Fault, ...]  #: all faults
    doubts: tuple[Doubt, ...] = ()  #: what is sound, but hardly meant so
    #: Keypoints of people with any: visible, hidden, not labelled.
    keypoints: tuple[int, int, int] = (0, 0, 0)
    #: People with keypoints: small, medium, large, by COCO's areas.
    sizes: tuple[int, int, int] = (0, 0, 0)
    skeleton: Skeleton | None = None  #: as understood

    @property
    def is_sound(self) -> bool:
        """Neither faults nor doubts."""
        return not self.faults and not self.doubts


def validate(folder: pathlib.Path, *, progress: bool = True) -> dict[str, SplitReport]:
    """Read and decode all of a data set; report on each split that is there.

    Raises:
      ValueError: if the folder, or a file as a whole, is unusable.
    """
    splits = [split for split in SPLITS if annotation_file(folder, split).is_file()]
    if not splits:
        raise ValueError(
            f"{folder}: got neither a prepared data set nor COCO's layout, expected "
            f"{str(annotation_file(folder, 'train'))!r}"
        )
    skeleton = find_skeleton(folder)
    return {
        split: _report(folder, split, skeleton, title=split if progress else None)
        for split in splits
    }


def _report(
    folder: pathlib.Path, split: str, skeleton: Skeleton, *, title: str | None
) -> SplitReport:
    source, read = _open(folder, split, skeleton)
    faults, doubts = list(read.faults), Doubts()
    flags: collections.Counter[int] = collections.Counter()
    sizes: collections.Counter[int] = collections.Counter()
    good = people = 0
    bar = tqdm.trange(len(source), desc=title, unit="image", disable=title is None)
    for position in bar:
        outcome = _read(source, position, folder)
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            good += 1
            people += len(outcome.area)
            doubts.add(outcome)
            scored = outcome.has_keypoints & ~outcome.iscrowd
            flags.update(outcome.visibility[scored].ravel().tolist())
            sizes.update(np.digitize(outcome.area[scored], _AREAS).tolist())
    images = len(source) + read.left_out
    return SplitReport(
        *(images, good, people, read.num_other, tuple(faults)),
        doubts=(*_counted(read), *doubts.found()),
        keypoints=(flags[2], flags[1], flags[0]),
        sizes=(sizes[0], sizes[1], sizes[2]),
        skeleton=skeleton,
    )


def _counted(read: CocoSplit) -> Iterator[Doubt]:
    if read.num_counted:
        what = (
            "num_keypoints 0 with labelled keypoints; they are counted here, other "
            "tools leave these people out"
        )
        yield Doubt(what, read.num_counted, "people")


def _open(
    folder: pathlib.Path, split: str, skeleton: Skeleton
) -> tuple[Source, CocoSplit]:
    """The sound records, and what was wrong with the others."""
    if is_prepared(folder):
        return PreparedSource(folder, split), CocoSplit((), (), left_out=0)
    annotations = AnnotationFile(annotation_file(folder, split))
    read = read_coco_split(folder, split, skeleton, annotations)
    annotations.forget()
    return RecordSource(read.records, skeleton, annotations), read


def _read(source: Source, position: int, folder: pathlib.Path) -> ImageRecord | Fault:
    """A record whose image decodes, or its fault."""
    try:
        record = source[position]
    except ValueError as error:
        return Fault(str(folder), f"record {position}", str(error))
    try:
        decode_image(record)
    except ValueError as error:
        return image_fault(record, folder, error)
    return record
