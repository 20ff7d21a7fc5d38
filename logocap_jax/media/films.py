"""Films and cameras: frames in, frames out, and their sound."""

import contextlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.read.images import check_size
from logocap_jax.atomic import replacing
from logocap_jax.visualization.overlay import SIGNATURE

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")

_MISSING = (
    "films are written without their sound; pip install 'logocap-jax[video]' keeps it"
)


class Film:
    """A film or a camera, read frame by frame, once.

    Attributes:
      frames_per_second: as the file says; 25 where it does not.
      num_frames: as the file says; 0 where it does not.
    """

    def __init__(self, source: Path | int) -> None:
        """Open a film's file, or a camera by its number, from 0 on.

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
        width, height, count, rate = map(
            self._capture.get,
            (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FRAME_COUNT,
                cv2.CAP_PROP_FPS,
            ),
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
      path: the name.
    """

    def __init__(self, path: Path, *, frames_per_second: float) -> None:
        """Write nothing yet; the first frame sets the size."""
        self.path = path
        self._file = contextlib.ExitStack()
        self._size: tuple[int, int] | None = None
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._temporary: Path | None = None

    def add(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        """Append a frame.

        Raises:
          ValueError: if it cannot be written, or is of another size than the first.
        """
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            replaced = replacing(self.path, suffix=".mp4")
            self._temporary = self._file.enter_context(replaced)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            name = str(self._temporary)
            self._writer = cv2.VideoWriter(name, codec, self._rate, size)
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
            assert self._temporary is not None
            _sign(self._temporary)
        self._file.close()


def copy_sound(source: Path, drawn: Path) -> str | None:
    """Add the sound of a film to another of the same rate, cut to its length.

    Packets are copied: nothing is decoded, no quality is lost. Needs PyAV, the
    `[video]` extra; OpenCV knows no sound.

    Args:
      source: the film with the sound.
      drawn: an MP4 without sound; replaced by one with it, whole.

    Returns:
      One line, if the film may lack sound.
    """
    try:
        import av
    except ModuleNotFoundError:
        return _MISSING
    try:
        with av.open(source) as given, av.open(drawn) as pictures:
            if not given.streams.audio:
                return None
            with replacing(drawn) as temporary:
                with av.open(temporary, "w", format="mp4") as result:
                    _copy(given, pictures, result)
                _sign(temporary)
    except (av.FFmpegError, ValueError):  # the latter for a codec no MP4 holds
        return f"{drawn}: without sound; that of {source} does not fit into an MP4"
    return None


def _sign(path: Path) -> None:
    """Append a box that players pass over, and `atomic.check_target` knows."""
    content = b"free" + SIGNATURE
    with path.open("ab") as stream:
        stream.write((4 + len(content)).to_bytes(4) + content)


def _copy(given: Any, pictures: Any, result: Any) -> None:
    """Copy packets of pictures and sound in the order of their times."""
    video, audio = pictures.streams.video[0], given.streams.audio[0]
    end = float(video.duration * video.time_base)
    packets = heapq.merge(
        _packets(pictures, video, result.add_stream_from_template(video)),
        _packets(given, audio, result.add_stream_from_template(audio), end),
        key=lambda item: item[0],
    )
    for _, packet in packets:
        result.mux(packet)


def _packets(
    container: Any, stream: Any, copy: Any, end: float = float("inf")
) -> Iterator[tuple[float, Any]]:
    """Packets of a stream up to a time, in seconds, with theirs."""
    for packet in container.demux(stream):
        if packet.dts is None:  # what demuxing ends with
            continue
        seconds = float(packet.dts * packet.time_base)
        if seconds >= end:
            return
        packet.stream = copy
        yield seconds, packet
