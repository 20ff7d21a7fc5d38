"""Poses of many images into files, as they come: COCO results, a table.

Both files take their names when they are closed, whole.
"""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from logocap_jax.media import films
from logocap_jax.predictor.poses import Poses


class Found(NamedTuple):
    """The poses of a picture.

    Attributes:
      path: its file.
      frame: number of the frame, from 1 on; None for an image.
      poses: the people.
      ids: of the people of a film that are tracked.
    """

    path: Path
    frame: int | None
    poses: Poses
    ids: Int[np.ndarray, " n"] | None


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._stream = self._temporary.open("w", encoding="utf-8", newline="")

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()
        os.replace(self._temporary, self._path)


class JsonResults(_File):
    """COCO keypoint results.

    An image's id is the number in its name if all files are images named by different
    numbers, else its position from 1 on; `file_name` (and, of a film, `frame`) tells
    them apart in any case.
    """

    def __init__(
        self, path: Path, inputs: Sequence[Path], *, category_id: int = 1
    ) -> None:
        """Open the file.

        Args:
          path: the JSON file; an old one is replaced.
          inputs: all files whose poses may come.
          category_id: that of the annotations that the results will be held against.

        Raises:
          OSError: if it cannot be written.
        """
        super().__init__(path)
        self._numbered = _are_numbered(inputs)
        self._category_id = category_id
        self._position = 0
        self._separator = "["

    def add(self, found: Found) -> None:
        """Append the poses of the next picture.

        Raises:
          ValueError: if one has a NaN or infinity.
        """
        self._position += 1
        number = int(found.path.stem) if self._numbered else self._position
        results = found.poses.to_coco(number, category_id=self._category_id)
        for person, result in enumerate(results):
            result["file_name"] = found.path.name
            if found.frame is not None:
                result["frame"] = found.frame
            if found.ids is not None:
                result["track_id"] = int(found.ids[person])
            text = json.dumps(result, allow_nan=False)
            self._stream.write(f"{self._separator}{text}")
            self._separator = ",\n"

    def close(self) -> None:
        """Finish the file."""
        self._stream.write("[]\n" if self._separator == "[" else "]\n")
        super().close()


class CsvTable(_File):
    """A table with a row per pose."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Args:
          path: the CSV file; an old one is replaced.

        Raises:
          OSError: if it cannot be written.
        """
        super().__init__(path)
        self._writer = csv.writer(self._stream)
        self._has_header = False

    def add(self, found: Found) -> None:
        """Append the poses of the next picture."""
        poses = found.poses
        if not self._has_header:
            columns = [
                f"{name}_{what}"
                for name in poses.skeleton.keypoints
                for what in ("x", "y", "score")
            ]
            self._writer.writerow(["file", "frame", "track", "score", *columns])
            self._has_header = True
        frame = "" if found.frame is None else found.frame
        for number, score in enumerate(poses.scores):
            track = "" if found.ids is None else int(found.ids[number])
            triplets = np.column_stack(
                [poses.keypoints[number], poses.keypoint_scores[number]]
            )
            numbers = map(float, (score, *triplets.ravel()))
            self._writer.writerow([str(found.path), frame, track, *numbers])


def _are_numbered(inputs: Sequence[Path]) -> bool:
    stems = [path.stem for path in inputs]
    images_only = not any(path.suffix.lower() in films.SUFFIXES for path in inputs)
    decimal = all(stem.isdecimal() for stem in stems)
    return (
        images_only
        and decimal
        and len({*map(int, stems)} if decimal else ()) == len(stems)
    )
