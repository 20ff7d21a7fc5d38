"""Poses of many images into files: overlays, COCO results, a table."""

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from logocap_jax.atomic import replacing
from logocap_jax.evaluation.results import write_json
from logocap_jax.predictor.films import FilmWriter
from logocap_jax.predictor.pictures import Picture
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.tracking import Tracker
from logocap_jax.visualization.overlay import write_image


class _Found(NamedTuple):
    path: Path
    frame: int | None
    poses: Poses
    ids: np.ndarray | None


class Output:
    """Where poses go; leaving the context writes the files, also after Ctrl-C.

    Attributes:
      num_images: images so far.
      num_people: people so far.
    """

    def __init__(
        self,
        folder: Path | None = None,
        json_file: Path | None = None,
        csv_file: Path | None = None,
        *,
        initial: bool = False,
        track: bool = False,
    ) -> None:
        """Write nothing yet.

        Args:
          folder: for the drawn poses, one PNG per image, one MP4 per film; made if
            need be.
          json_file: for COCO keypoint results. An image's id is the number in its
            name if all images are named by different numbers, else its position from 1
            on; `file_name` (and, of a film, `frame`) tells them apart in any case.
          csv_file: for a table with a row per pose.
          initial: draw the poses before refinement, too.
          track: give the people of a film ids, that are drawn and written.
        """
        self.num_images = self.num_people = 0
        self._folder, self._json, self._csv = folder, json_file, csv_file
        self._initial, self._track = initial, track
        self._found: list[_Found] = []
        self._names: set[str] = set()
        self._film: tuple[Path, FilmWriter] | None = None
        self._tracker: tuple[Path, Tracker] | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, picture: Picture, poses: Poses) -> None:
        """Take the poses of a picture; draws them at once. Frames come in order."""
        self.num_images += 1
        self.num_people += len(poses)
        ids = self._ids(picture, poses)
        self._found.append(_Found(picture.path, picture.frame, poses, ids))
        if self._folder is not None:
            labels = None if ids is None else [str(number) for number in ids]
            drawn = poses.draw(picture.pixels, initial=self._initial, labels=labels)
            self._write(picture, drawn)

    def _ids(self, picture: Picture, poses: Poses) -> np.ndarray | None:
        if not self._track or picture.frame is None:
            return None
        if self._tracker is None or self._tracker[0] != picture.path:
            self._tracker = (picture.path, Tracker())
        return self._tracker[1].update(poses)

    def _write(self, picture: Picture, drawn: UInt8[np.ndarray, "H W 3"]) -> None:
        assert self._folder is not None
        if self._film is not None and self._film[0] != picture.path:
            self._close_film()
        if picture.frame is None:
            write_image(self._folder / self._name(picture.path, ".png"), drawn)
            return
        if self._film is None:
            path = self._folder / self._name(picture.path, ".mp4")
            rate = picture.frames_per_second
            self._film = (picture.path, FilmWriter(path, frames_per_second=rate))
        self._film[1].add(drawn)

    def _close_film(self) -> None:
        if self._film is not None:
            self._film[1].close()
            self._film = None

    def _name(self, path: Path, suffix: str) -> str:
        """The file's name; a number follows where two folders have the same."""
        name, count = f"{path.stem}{suffix}", 1
        while name in self._names:
            count += 1
            name = f"{path.stem}_{count}{suffix}"
        self._names.add(name)
        return name

    def __enter__(self) -> "Output":
        """Nothing to set up."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what was taken so far."""
        self._close_film()
        if self._json is not None:
            write_json(self._json, _coco_results(self._found))
        if self._csv is not None:
            _write_csv(self._csv, self._found)


def _coco_results(found: list[_Found]) -> list[dict[str, Any]]:
    stems = [each.path.stem for each in found]
    numbered = all(stem.isdecimal() for stem in stems)
    numbers = [int(stem) for stem in stems] if numbered else []
    if len(set(numbers)) != len(stems):
        numbers = list(range(1, len(stems) + 1))
    results = []
    for number, each in zip(numbers, found, strict=True):
        for person, result in enumerate(each.poses.to_coco(number)):
            result["file_name"] = each.path.name
            if each.frame is not None:
                result["frame"] = each.frame
            if each.ids is not None:
                result["track_id"] = int(each.ids[person])
            results.append(result)
    return results


def _write_csv(path: Path, found: list[_Found]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if found:
        names = found[0].poses.skeleton.keypoints
        columns = [f"{name}_{axis}" for name in names for axis in ("x", "y", "score")]
        writer.writerow(["file", "frame", "track", "score", *columns])
    for each in found:
        frame = "" if each.frame is None else each.frame
        for number, score in enumerate(each.poses.scores):
            track = "" if each.ids is None else int(each.ids[number])
            points = each.poses.keypoints[number]
            triplets = np.column_stack([points, each.poses.keypoint_scores[number]])
            numbers = map(float, (score, *triplets.ravel()))
            writer.writerow([str(each.path), frame, track, *numbers])
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
