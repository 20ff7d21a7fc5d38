"""Films and cameras: frames in, frames out."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.read.images import check_size

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


class Film:
    """A film, or what a camera sees, that is read frame by frame, once.

    Attributes:
      frames_per_second: as the file says; 25 where it does not.
      num_frames: as the file says; 0 where it does not.
    """

    def __init__(self, source: Path | int) -> None:
        """Open a film or a camera.

        Args:
          source: a file, or the number of a camera, from 0 on.

        Raises:
          ValueError: if it is none that OpenCV can read, or its frames are too large.
        """
        self._is_camera = isinstance(source, int)
        if isinstance(source, int):
            self._name = f"camera {source}"
            self._capture = cv2.VideoCapture(source)
        else:
            self._name = str(source)
            self._capture = cv2.VideoCapture(self._name)
        absent = isinstance(source, Path) and not source.is_file()
        if absent or not self._capture.isOpened():
            expected = "a camera" if self._is_camera else "a whole film"
            raise ValueError(
                f"{self._name}: got nothing that OpenCV can read, expected {expected}"
            )
        width, height, count, rate = (
            self._capture.get(which)
            for which in (
                *(cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT),
                *(cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS),
            )
        )
        try:
            check_size(int(width), int(height))
        except ValueError as error:
            raise ValueError(f"{self._name}: {error}") from error
        self.num_frames = max(0, int(count))
        self.frames_per_second = rate if 0 < rate <= 1000 else 25.0

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield the frames as RGB.

        Raises:
          ValueError: at the end, if the film breaks off before the frames it promised,
            or has none; of a camera, when it gives no more.
        """
        number = 0
        try:
            while True:
                good, frame = self._capture.read()
                if not good:
                    break
                number += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()
        if not number:
            raise ValueError(f"{self._name}: got no frame, expected some")
        if self._is_camera:
            raise ValueError(
                f"{self._name}: got {number} frames and then none, expected more until "
                "Ctrl-C; those are kept"
            )
        if number < self.num_frames:
            raise ValueError(
                f"{self._name}: got {number} frames, expected {self.num_frames}: it "
                "breaks off; those are kept"
            )


class FilmWriter:
    """An MP4 that takes its name when it is closed, whole.

    Attributes:
      path: that name.
    """

    def __init__(self, path: Path, *, frames_per_second: float) -> None:
        """Write nothing yet; the first frame sets the size."""
        self.path = path
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        self._size: tuple[int, int] | None = None
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None

    def add(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        """Append a frame.

        Raises:
          ValueError: if it cannot be written, or is of another size than the first.
        """
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(
                str(self._temporary), codec, self._rate, size
            )
            self._size = size
            if not self._writer.isOpened():
                raise ValueError(f"{self.path}: got a film that cannot be written")
        if size != self._size:
            raise ValueError(
                f"{self.path}: got a frame of {size}, expected {self._size} as before"
            )
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
            os.replace(self._temporary, self.path)
