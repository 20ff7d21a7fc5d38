"""The record that every source yields, and faults of records, reported all at once."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int8


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """One image and its `n` annotated people, in original image pixels."""

    image_id: int  #: number of the image in its data set
    file_name: str  #: path of the image inside its image folder
    width: int  #: pixels
    height: int  #: pixels
    #: `(x, y)`, image px; arbitrary where `visibility` is 0.
    keypoints: Float32[np.ndarray, "n K 2"]
    #: 0 not labelled, 1 labelled but hidden, 2 visible.
    visibility: Int8[np.ndarray, "n K"]
    bbox: Float32[np.ndarray, "n 4"]  #: `(x, y, width, height)`, image px
    area: Float32[np.ndarray, " n"]  #: area of the person as annotated, image px^2
    iscrowd: Bool[np.ndarray, " n"]  #: the annotation covers a group of people
    #: Per person COCO's `segmentation` (polygons or run lengths) as JSON text; empty
    #: where the loss mask needs none.
    segmentation: tuple[str, ...]
    image: pathlib.Path | bytes  #: the encoded image, or the file that holds it

    @property
    def name(self) -> str:
        """Name of this record in error messages."""
        return f"image {self.image_id} ({self.file_name!r})"

    @property
    def has_people(self) -> bool:
        """At least one person is annotated, be it a crowd or without keypoints."""
        return len(self.area) > 0

    @property
    def has_keypoints(self) -> Bool[np.ndarray, " n"]:
        """People with a labelled keypoint."""
        return np.any(self.visibility > 0, axis=1)

    @property
    def is_ignored(self) -> Bool[np.ndarray, " n"]:
        """Crowds, and people without labelled keypoints: the loss leaves them out."""
        return self.iscrowd | ~self.has_keypoints


class Fault(NamedTuple):
    """One fault of one record."""

    file: str  #: the file that holds the record
    record: str  #: its name, such as `annotation 7`
    reason: str  #: got and expected

    def __str__(self) -> str:
        """One line."""
        return f"{self.file}: {self.record}: {self.reason}"


def image_fault(record: ImageRecord, folder: pathlib.Path, error: ValueError) -> Fault:
    """The fault that `decode_image` raised for a record of a data set's folder."""
    file = record.image if isinstance(record.image, pathlib.Path) else folder
    return Fault(str(file), record.name, str(error).removeprefix(f"{record.name}: "))


def raise_faults(faults: Sequence[Fault], *, shown: int = 20) -> None:
    """Report all bad records at once, the first `shown` in words.

    Raises:
      ValueError: unless `faults` is empty.
    """
    if faults:
        more = [f"... and {len(faults) - shown} more"] if len(faults) > shown else []
        lines = [f"{len(faults)} bad records:", *map(str, faults[:shown]), *more]
        raise ValueError("\n  ".join(lines))
