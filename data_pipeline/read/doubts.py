"""What is written soundly, but cannot be meant: units, orders, copies, orientation.

None of it occurs in the annotations of COCO, CrowdPose or OCHuman.
"""

import collections
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipeline.read.images import orientation, read_encoded
from data_pipeline.read.records import ImageRecord

_SMALL = 32  # px: COCO counts no person below its square as medium or large


class Doubt(NamedTuple):
    """A kind of doubtful thing."""

    what: str  #: it, and what to do
    times: int  #: how often it occurs
    example: str  #: the first of them


class Doubts:
    """Collects doubts from records, one after the other."""

    def __init__(self) -> None:
        """Start with none."""
        self._found: dict[str, list[str]] = collections.defaultdict(list)
        self._images: dict[bytes, str] = {}
        self._people = 0
        self._below: collections.Counter[int] = collections.Counter()

    def add(self, record: ImageRecord) -> None:
        """Look at a record whose image has been decoded."""
        for what in (*self._file_doubts(record), *_people_doubts(record)):
            self._found[what].append(record.name)
        labelled = record.has_keypoints & ~record.iscrowd
        self._people += int(labelled.sum())
        sides = record.bbox[labelled, 2:].max(axis=1, initial=0)
        for limit in (1, _SMALL):
            self._below[limit] += int((sides < limit).sum())

    def _file_doubts(self, record: ImageRecord) -> Iterator[str]:
        encoded = read_encoded(record.image)
        if (turned := orientation(encoded)) != 1:
            yield (
                f"EXIF orientation {turned}: training and evaluation take pixels as "
                "stored, `logocap predict` turns them upright; if the labels are of "
                "upright pixels, save the image upright and without the tag"
            )
        first = self._images.setdefault(hashlib.sha256(encoded).digest(), record.name)
        if first != record.name:
            yield "a photograph that is there under another id as well; remove one"

    def found(self) -> tuple[Doubt, ...]:
        """The doubts, each kind once."""
        doubts = [Doubt(what, len(at), at[0]) for what, at in self._found.items()]
        for limit, why in (
            (1, "are numbers normalised? they are expected in pixels"),
            (_SMALL, "nobody is large enough for a pose centre; are they in pixels?"),
        ):
            if self._people and self._below[limit] == self._people:
                what = f"everybody is smaller than {limit} px; {why}"
                return (*doubts, Doubt(what, self._people, "all people"))
        return tuple(doubts)


def _people_doubts(record: ImageRecord) -> Iterable[str]:
    """Doubts about the people of a record, each once."""
    seen = record.visibility > 0
    x, y = record.keypoints[..., 0], record.keypoints[..., 1]
    outside = (x < 0) | (y < 0) | (x > record.width) | (y > record.height)
    if (outside & seen).any():
        yield (
            "labelled keypoints outside of their image; are they in pixels of this "
            "image, or of a larger one?"
        )
    box = np.prod(record.bbox[:, 2:].astype(np.float64), axis=1)
    if (record.area > 1.01 * box + 1).any():
        yield "an area above that of the box; is the box [x, y, width, height]?"
    packed = np.concatenate([record.keypoints, seen[..., None]], axis=2)
    labelled = packed[record.has_keypoints & ~record.iscrowd]
    flat = labelled.reshape(len(labelled), packed[0].size if len(packed) else 0)
    if len(flat) and len(np.unique(flat, axis=0)) < len(flat):
        yield "a person who is annotated twice with the same keypoints; remove one"
