"""Poses of many images into files, as they come: COCO results, a table.

Both files take their names when they are closed, whole.
"""

import contextlib
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from logocap_jax.atomic import replacing
from logocap_jax.media import films
from logocap_jax.media.pictures import Picture
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Explained


class FrameResult(NamedTuple):
    """The people in an image, or in a frame of a film."""

    picture: Picture  #: the image or frame
    poses: Poses  #: the people
    #: The same people, with the layers behind them, if they were asked for.
    explained: Explained | None = None
    #: Of the people of a film that are tracked.
    ids: Int[np.ndarray, " n"] | None = None


class _File:
    def __init__(self, path: Path) -> None:
        self._file = contextlib.ExitStack()
        temporary = self._file.enter_context(replacing(path))
        self._stream = self._file.enter_context(
            temporary.open("w", encoding="utf-8", newline="")
        )

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


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
          category_id: of the annotations that the results will be compared with.

        Raises:
          OSError: if it cannot be written.
        """
        super().__init__(path)
        self._numbered = _are_numbered(inputs)
        self._category_id = category_id
        self._position = 0
        self._separator = "["

    def add(self, result: FrameResult) -> None:
        """Append the poses of the next picture.

        Raises:
          ValueError: if one has a NaN or infinity.
        """
        self._position += 1
        path, frame = result.picture.path, result.picture.frame
        number = int(path.stem) if self._numbered else self._position
        people = result.poses.to_coco(number, category_id=self._category_id)
        for index, person in enumerate(people):
            person["file_name"] = path.name
            if frame is not None:
                person["frame"] = frame
            if result.ids is not None:
                person["track_id"] = int(result.ids[index])
            text = json.dumps(person, allow_nan=False)
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

    def add(self, result: FrameResult) -> None:
        """Append the poses of the next picture."""
        poses, picture = result.poses, result.picture
        if not self._has_header:
            columns = [
                f"{name}_{value}"
                for name in poses.skeleton.keypoints
                for value in ("x", "y", "score")
            ]
            self._writer.writerow(["file", "frame", "track", "score", *columns])
            self._has_header = True
        frame = "" if picture.frame is None else picture.frame
        for number, score in enumerate(poses.scores):
            track = "" if result.ids is None else int(result.ids[number])
            triplets = np.column_stack(
                [poses.keypoints[number], poses.keypoint_scores[number]]
            )
            numbers = map(float, (score, *triplets.ravel()))
            self._writer.writerow([str(picture.path), frame, track, *numbers])


def _are_numbered(inputs: Sequence[Path]) -> bool:
    stems = [path.stem for path in inputs]
    images_only = not any(path.suffix.lower() in films.SUFFIXES for path in inputs)
    decimal = all(stem.isdecimal() for stem in stems)
    return (
        images_only
        and decimal
        and len({*map(int, stems)} if decimal else ()) == len(stems)
    )
