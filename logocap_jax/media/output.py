"""Poses of many images, as they come: drawn, written, shown."""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from logocap_jax.media.gallery import Gallery
from logocap_jax.media.pictures import Picture
from logocap_jax.media.results_files import CsvTable, Found, JsonResults
from logocap_jax.media.views import draw_views
from logocap_jax.predictor.explainer import Explained
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.tracking import Tracker
from logocap_jax.visualization.window import Window


class Output:
    """Where poses go; leaving the context finishes the files, also after Ctrl-C.

    Nothing is kept of a picture once it is added, so films may be long.

    Attributes:
      num_images: images so far.
      num_people: people so far.
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
          views: what to draw, of `views.VIEWS`.
          track: give the people of a film ids, that are drawn and written.
          window: shows the first view of each picture.

        Raises:
          OSError: if something cannot be written.
        """
        self.num_images = self.num_people = 0
        self._views, self._track, self._window = views, track, window
        self._gallery = None if folder is None else Gallery(folder)
        self._files: list[JsonResults | CsvTable] = []
        if json_file is not None:
            self._files.append(JsonResults(json_file, inputs, category_id=category_id))
        if csv_file is not None:
            self._files.append(CsvTable(csv_file))
        self._tracker: tuple[Path, Tracker] | None = None

    @property
    def window_closed(self) -> bool:
        """Whether the user has closed the window."""
        return self._window is not None and self._window.closed

    @property
    def notes(self) -> list[str]:
        """What was left undone, one line each."""
        return [] if self._gallery is None else self._gallery.notes

    def add(
        self, picture: Picture, poses: Poses, explained: Explained | None = None
    ) -> None:
        """Take the poses of a picture. Frames of a film come in order.

        Raises:
          ValueError: if a frame cannot be written, or a pose is no number.
        """
        self.num_images += 1
        self.num_people += len(poses)
        ids = self._ids(picture, poses)
        for file in self._files:
            file.add(Found(picture.path, picture.frame, poses, ids))
        if self._gallery is None and self._window is None:
            return
        drawn = draw_views(
            *(self._views, picture.pixels, poses, explained),
            labels=None if ids is None else [str(number) for number in ids],
            film=picture.frame is not None,
        )
        for index, (view, image) in enumerate(drawn):
            if self._gallery is not None:
                self._gallery.add(picture, view, image)
            if self._window is not None and index == 0:
                self._window.show(image)

    def _ids(self, picture: Picture, poses: Poses) -> np.ndarray | None:
        if not self._track or picture.frame is None:
            return None
        if self._tracker is None or self._tracker[0] != picture.path:
            self._tracker = (picture.path, Tracker())
        return self._tracker[1].update(poses)

    def __enter__(self) -> "Output":
        """Nothing to set up."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the files with what was taken so far."""
        if self._gallery is not None:
            self._gallery.finish_film()
        for file in self._files:
            file.close()
