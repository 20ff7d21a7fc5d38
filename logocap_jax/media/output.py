"""Poses of many images, as they come: drawn, written, shown."""

import collections
import contextlib
import csv
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from logocap_jax.atomic import replacing
from logocap_jax.media import films
from logocap_jax.media.films import FilmWriter, copy_sound
from logocap_jax.media.pictures import Picture
from logocap_jax.media.views import draw_views
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Explained, Predictor
from logocap_jax.predictor.smoothing import Smoother
from logocap_jax.predictor.tracking import Tracker
from logocap_jax.visualization.overlay import write_image
from logocap_jax.visualization.window import Window


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
    numbers, else its position among all inputs, from 1 on, be they readable or not;
    that of a film's frame is 1,000,000 times the film's position, and the number of the
    frame. `file_name` (and, of a film, `frame` and `time_s`) tells them apart, too.
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
        self._separator = "["

    def add(self, result: FrameResult) -> None:
        """Append the poses of the next picture.

        Raises:
          ValueError: if one has a NaN or infinity.
        """
        path, frame, seconds = (
            result.picture.path,
            result.picture.frame,
            result.picture.seconds,
        )
        number = int(path.stem) if self._numbered else _number(result.picture)
        people = result.poses.to_coco(number, category_id=self._category_id)
        for index, person in enumerate(people):
            person["file_name"] = path.name
            if frame is not None:
                person["frame"] = frame
            if seconds is not None:
                person["time_s"] = round(seconds, 6)
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
        """Open the file; an old one is replaced.

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
            self._writer.writerow(
                ["file", "frame", "time_s", "track", "score", *columns]
            )
            self._has_header = True
        frame = "" if picture.frame is None else picture.frame
        seconds = "" if picture.seconds is None else round(picture.seconds, 6)
        for number, score in enumerate(poses.scores):
            track = "" if result.ids is None else int(result.ids[number])
            triplets = np.column_stack(
                [poses.keypoints[number], poses.keypoint_scores[number]]
            )
            numbers = map(float, (score, *triplets.ravel()))
            row = [str(picture.path), frame, seconds, track, *numbers]
            self._writer.writerow(row)


def _number(picture: Picture) -> int:
    if picture.frame is None:
        return picture.position
    return picture.position * 1_000_000 + picture.frame


def _are_numbered(inputs: Sequence[Path]) -> bool:
    stems = [path.stem for path in inputs]
    images_only = not any(path.suffix.lower() in films.SUFFIXES for path in inputs)
    decimal = all(stem.isdecimal() for stem in stems)
    return (
        images_only
        and decimal
        and len({*map(int, stems)} if decimal else ()) == len(stems)
    )


def find_people(
    predictor: Predictor, pictures: Iterable[Picture], *, explain: bool = False
) -> Iterator[FrameResult]:
    """Find the people in pictures, in order; only a few are in memory at a time.

    Args:
      predictor: finds them.
      pictures: images and frames.
      explain: keep the layers behind the poses, one picture at a time.
    """
    if explain:
        for picture in pictures:
            explained = predictor.explain(picture.pixels)
            yield FrameResult(picture, explained.poses, explained)
        return
    waiting: collections.deque[Picture] = collections.deque()

    def pixels() -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        for picture in pictures:
            waiting.append(picture)
            yield picture.pixels

    for poses in predictor.stream(pixels()):
        yield FrameResult(waiting.popleft(), poses)


class Output(contextlib.AbstractContextManager["Output"]):
    """The targets of poses; leaving the context finishes the files, also after Ctrl-C.

    Nothing is kept of a picture once it is added, so films may be long.

    Attributes:
      num_images: images so far.
      num_people: people so far.
      best_left_out: the best score of poses below the threshold; None: there are none.
    """

    def __init__(
        self,
        inputs: Sequence[Path],
        *,
        folder: Path | None = None,
        json_file: Path | None = None,
        category_id: int = 1,
        csv_file: Path | None = None,
        views: Collection[str] = ("refined",),
        track: bool = False,
        smooth: bool = False,
        window: Window | None = None,
    ) -> None:
        """Open the files.

        Args:
          inputs: the files whose pictures will come; see `JsonResults`.
          folder: for the drawn pictures, one PNG per image and view, one MP4 per film
            and view; made if need be.
          json_file: for COCO keypoint results.
          category_id: of those results.
          csv_file: for a table with a row per pose.
          views: as for `views.draw_views`.
          track: give the people of a film ids, that are drawn and written.
          smooth: filter the keypoints of the tracked, see `Smoother`.
          window: shows the first view of each picture.

        Raises:
          OSError: if something cannot be written.
        """
        self.num_images = self.num_people = 0
        self.best_left_out: float | None = None
        self._views, self._track, self._window = views, track, window
        self._gallery = None if folder is None else Gallery(folder)
        self._files: list[JsonResults | CsvTable] = []
        if json_file is not None:
            self._files.append(JsonResults(json_file, inputs, category_id=category_id))
        if csv_file is not None:
            self._files.append(CsvTable(csv_file))
        self._smooth = smooth
        self._tracker: tuple[Path, Tracker, Smoother] | None = None

    @property
    def window_closed(self) -> bool:
        """True once the user has closed the window."""
        return self._window is not None and self._window.closed

    @property
    def notes(self) -> list[str]:
        """Work left undone, one line each."""
        return [] if self._gallery is None else self._gallery.notes

    @property
    def faults(self) -> list[str]:
        """Films that could not be drawn, one line each."""
        return [] if self._gallery is None else self._gallery.faults

    def add(self, result: FrameResult) -> None:
        """Take the poses of a picture. Frames of a film come in order.

        Raises:
          ValueError: if a pose is no number.
        """
        ids, poses = self._followed(result)
        picture = result.picture
        self.num_images += 1
        self.num_people += len(poses)
        if poses.best_left_out is not None:
            best = self.best_left_out
            better = best is None or poses.best_left_out > best
            self.best_left_out = poses.best_left_out if better else best
        for file in self._files:
            file.add(result._replace(ids=ids, poses=poses))
        if self._gallery is None and self._window is None:
            return
        drawn = draw_views(
            self._views,
            picture.pixels,
            poses,
            result.explained,
            labels=None if ids is None else [str(number) for number in ids],
            film=picture.frame is not None,
        )
        for index, (view, image) in enumerate(drawn):
            if self._gallery is not None:
                self._gallery.add(picture, view, image)
            if self._window is not None and index == 0:
                self._window.show(image)

    def _followed(self, result: FrameResult) -> tuple[np.ndarray | None, Poses]:
        """Ids, and smooth poses, as far as they are asked for."""
        picture, poses = result.picture, result.poses
        if not self._track or picture.frame is None:
            return None, poses
        if self._tracker is None or self._tracker[0] != picture.path:
            self._tracker = (picture.path, Tracker(), Smoother())
        _, tracker, smoother = self._tracker
        ids = tracker.update(poses)
        if self._smooth:
            poses = smoother.update(poses, ids, picture.seconds or 0.0)
        return ids, poses

    def __exit__(self, *error: object) -> None:
        """Finish the files with the results so far."""
        if self._gallery is not None:
            self._gallery.finish_film()
        for file in self._files:
            file.close()


def drawn_targets(
    folder: Path, inputs: Sequence[Path], views: Collection[str]
) -> Iterator[Path]:
    """The files in a folder that drawing these inputs may replace."""
    stems = {path.stem for path in inputs}
    for path in folder.iterdir() if folder.is_dir() else ():
        stem, _, view = path.stem.partition(".")
        known = path.stem in stems or (stem in stems and view.startswith(tuple(views)))
        if path.suffix in (".png", ".mp4") and known:
            yield path


class Gallery:
    """The drawn pictures of a run in a folder: PNGs of images, MP4s of films."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be.

        Raises:
          OSError: if it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stems: dict[Path, str] = {}
        self._films: dict[str, FilmWriter] = {}
        self._film: Path | None = None
        self._refused: set[str] = set()
        self.notes: list[str] = []
        self.faults: list[str] = []

    def add(
        self, picture: Picture, view: str, drawn: UInt8[np.ndarray, "H W 3"]
    ) -> None:
        """Write a drawn image, or append to a film.

        Args:
          picture: the original. The frames of a film come one after the other.
          view: suffix of the file's name; may be empty.
          drawn: RGB.

        A film that cannot be written is named in `faults`, and left out.
        """
        if self._film != picture.path:
            self.finish_film()
        name = self._stem(picture.path) + (f".{view}" if view else "")
        if picture.frame is None:
            write_image(self._folder / f"{name}.png", drawn)
            return
        if name in self._refused:
            return
        if name not in self._films:
            self._film = picture.path
            self._films[name] = FilmWriter(
                self._folder / f"{name}.mp4",
                frames_per_second=picture.frames_per_second,
            )
        try:
            self._films[name].add(drawn, picture.seconds)
        except ValueError as error:
            self.faults.append(str(error))
            self._refused.add(name)
            del self._films[name]

    def finish_film(self) -> None:
        """Close the film under way, if there is one; its sound is added."""
        for writer in self._films.values():
            try:
                writer.close()
            except ValueError as error:
                self.faults.append(str(error))
                continue
            if self._film is not None and self._film.is_file():
                note = copy_sound(self._film, writer.path)
                if note and note not in self.notes:
                    self.notes.append(note)
        self._films, self._film = {}, None

    def _stem(self, path: Path) -> str:
        """The file's name; a number follows where two files have the same."""
        if path not in self._stems:
            stem, count = path.stem, 1
            while stem in self._stems.values():
                count += 1
                stem = f"{path.stem}_{count}"
            self._stems[path] = stem
        return self._stems[path]
