"""Every bad record of a data set, found before training."""

import dataclasses
import pathlib

import tqdm

from data_pipeline.prepare.dataset import is_prepared
from data_pipeline.read import coco
from data_pipeline.read.faults import Fault, image_fault
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.ground_truth import prepared_ground_truth
from data_pipeline.read.images import decode_image
from data_pipeline.read.layouts import SPLITS
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import PreparedSource, RecordSource, Source


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What was found in a split.

    Attributes:
      images: images that are listed.
      good: images of which all is sound.
      people: people in these.
      faults: what is wrong with the others.
    """

    images: int
    good: int
    people: int
    faults: tuple[Fault, ...]


def validate(folder: pathlib.Path, *, progress: bool = True) -> dict[str, SplitReport]:
    """Read and decode all of a data set, by the checks of training and evaluation.

    Args:
      folder: a folder in COCO's layout, or what `logocap prepare` wrote.
      progress: show a progress bar.

    Returns:
      A report for each split that is there.

    Raises:
      ValueError: if the folder, or a file as a whole, is unusable.
    """
    annotations = prepared_ground_truth if is_prepared(folder) else coco.annotation_file
    splits = [split for split in SPLITS if annotations(folder, split).is_file()]
    if not splits:
        raise ValueError(
            f"{folder}: got neither a prepared data set nor COCO's layout, expected "
            f"{str(coco.annotation_file(folder, 'train'))!r}"
        )
    return {
        split: _report(folder, split, title=split if progress else None)
        for split in splits
    }


def _report(folder: pathlib.Path, split: str, *, title: str | None) -> SplitReport:
    source: Source
    if is_prepared(folder):
        source, faults = PreparedSource(folder, split), []
        images = len(source)
    else:
        skeleton = find_skeleton(folder)
        read = coco.read_coco_split(folder, split, skeleton)
        source, faults = RecordSource(read.records, skeleton), list(read.faults)
        images = len(source) + read.left_out
    good = people = 0
    bar = tqdm.trange(len(source), desc=title, unit="image", disable=title is None)
    for position in bar:
        found = _read(source, position, folder)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            good += 1
            people += len(found.visibility)
    return SplitReport(images, good, people, tuple(faults))


def _read(source: Source, position: int, folder: pathlib.Path) -> ImageRecord | Fault:
    """A record whose image decodes, or what is wrong with it."""
    try:
        record = source[position]
    except ValueError as error:
        return Fault(str(folder), f"record {position}", str(error))
    try:
        decode_image(record)
    except ValueError as error:
        return image_fault(record, folder, error)
    return record
