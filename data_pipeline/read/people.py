"""People as a source: one record each, of annotated boxes or of detected ones."""

import dataclasses
import json
import pathlib
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import Source


class Detections(NamedTuple):
    """Boxes that a detector has found in one image."""

    bbox: Float[np.ndarray, "n 4"]  #: `x y width height`, image px
    scores: Float[np.ndarray, " n"]


class PeopleSource(Source):
    """Records of one person each: its box, and what is annotated.

    Attributes:
      image_ids: of all images, also of those without people.
      scores: of the boxes; annotated ones have 1.
    """

    def __init__(
        self, source: Source, detections: Mapping[int, Detections] | None = None
    ) -> None:
        """Take the people of a source; reads each of its records once.

        Annotated boxes are those of people with a labelled keypoint, without crowds,
        cut at the image's borders. Detected ones are taken as they are; nothing is
        labelled in them.
        """
        super().__init__(source.skeleton, source.annotations)
        self._source = source
        self._detections = detections
        self.image_ids: list[int] = []
        self._places: list[tuple[int, int]] = []
        self.scores: list[float] = []
        for index in range(len(source)):
            record = source[index]
            self.image_ids.append(record.image_id)
            found = self._boxes(record)
            people = np.flatnonzero(np.any(found.bbox[:, 2:] > 0, axis=1))
            self._places += [(index, int(person)) for person in people]
            self.scores += found.scores[people].tolist()
        self.sizes = [source.sizes[index] for index, _ in self._places]

    def __len__(self) -> int:
        """Number of people."""
        return len(self._places)

    def __getitem__(self, index: int) -> ImageRecord:
        """The record of one person."""
        image, person = self._places[index]
        record = self._source[image]
        bbox = self._boxes(record).bbox[[person]]
        if self._detections is None:
            chosen = [int(np.flatnonzero(_annotated(record))[person])]
            return dataclasses.replace(
                record,
                bbox=bbox,
                segmentation=("",),
                **{
                    name: getattr(record, name)[chosen]
                    for name in ("keypoints", "visibility", "area", "iscrowd")
                },
            )
        count = self.skeleton.num_keypoints
        return dataclasses.replace(
            record,
            bbox=bbox,
            segmentation=("",),
            keypoints=np.zeros((1, count, 2), np.float32),
            visibility=np.zeros((1, count), np.int8),
            area=np.prod(bbox[:, 2:], axis=1),
            iscrowd=np.zeros(1, bool),
        )

    def _boxes(self, record: ImageRecord) -> Detections:
        if self._detections is not None:
            nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
            return self._detections.get(record.image_id, nothing)
        bbox = record.bbox[_annotated(record)]
        last = np.array([record.width, record.height], np.float32) - 1
        low, high = np.clip(bbox[:, :2], 0, last), bbox[:, :2] + bbox[:, 2:]
        high = np.clip(high, 0, last)
        return Detections(
            np.concatenate([low, high - low], axis=1),
            np.ones(len(bbox), np.float32),
        )


def _annotated(record: ImageRecord) -> Bool[np.ndarray, " n"]:
    return record.has_keypoints & ~record.iscrowd


def read_detections(path: pathlib.Path, category_id: int = 1) -> dict[int, Detections]:
    """Read a detections file: COCO's results, a list of boxes with scores.

    Args:
      path: JSON, `[{"image_id", "category_id", "bbox": [x, y, width, height],
        "score"}, ...]`, image px.
      category_id: of people; others are passed over.

    Returns:
      The boxes by image id.

    Raises:
      ValueError: if it is no such file.
    """
    try:
        found = json.loads(path.read_bytes())
        boxes = defaultdict(list)
        for item in found:
            if item.get("category_id", category_id) == category_id:
                x, y, width, height = map(float, item["bbox"])
                row = (x, y, width, height, float(item["score"]))
                boxes[int(item["image_id"])].append(row)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected a list of boxes with image_id, bbox and score, got "
            f"{type(error).__name__}: {error}"
        ) from error
    arrays = {image: np.array(rows, np.float32) for image, rows in boxes.items()}
    for image, rows in arrays.items():
        if not np.isfinite(rows).all():
            raise ValueError(
                f"{path}: image {image}: got a box that is not finite, expected numbers"
            )
    return {
        image: Detections(rows[:, :4], rows[:, 4]) for image, rows in arrays.items()
    }
