"""Films and cameras: frames in, frames out, and their sound."""

import contextlib
import heapq
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8

from data_pipeline.read.images import check_size
from logocap_jax.atomic import replacing
from logocap_jax.visualization.overlay import SIGNATURE

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")

_MISSING = (
    "films are written without their sound and time stamps, in MPEG-4, which browsers "
    "do not play; pip install 'logocap-jax[video]' does better"
)
_TICKS = 90_000  # a second


class Film:
    """A film or a camera, read frame by frame, once.

    Attributes:
      frames_per_second: as the file says; 25 where it does not.
      num_frames: as the file says, which may be a guess; 0 where it does not.
      seconds: time stamp of the latest frame, as the file says, or by the rate; of a
        camera, since its first frame.
    """

    def __init__(self, source: Path | int) -> None:
        """Open a film's file, or a camera by its number, from 0 on.

        Raises:
          ValueError: if it is none that OpenCV can read, or its frames are too large.
        """
        self._is_camera = isinstance(source, int)
        self.seconds = 0.0
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
        number, start = 0, time.monotonic()
        try:
            while True:
                good, frame = self._capture.read()
                if not good:
                    break
                number += 1
                start = time.monotonic() if number == 1 else start
                self.seconds = self._time_stamp(number, time.monotonic() - start)
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
        if number < self.num_frames and _is_cut(Path(self._name)):
            raise ValueError(
                f"{self._name}: got {number} frames, expected {self.num_frames}: it "
                "breaks off; those are kept"
            )

    def _time_stamp(self, number: int, elapsed: float) -> float:
        if self._is_camera:
            return elapsed
        told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        is_later = math.isfinite(told) and (told > self.seconds or number == 1)
        if is_later:
            return max(0.0, told)
        return self.seconds + 1 / self.frames_per_second


def _is_cut(path: Path) -> bool:
    """True if a file with fewer frames than promised was cut, or is damaged inside.

    Matroska only guesses the number; there, and in MP4s that show a part of their
    frames, nothing but an end before its time tells.
    """
    with path.open("rb") as file:
        head, end = file.read(12), path.stat().st_size
        if head.startswith(b"RIFF"):
            return True  # an AVI counts its frames
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _matroska_end(file) > end
        boxes = list(_boxes(file, end))
        is_mp4 = any(kind == b"moov" for kind, _, _ in boxes)
        if not is_mp4:
            return False
        for kind, start, stop in boxes:
            file.seek(start)
            if stop > end or (kind == b"moov" and b"elst" in file.read(stop - start)):
                return stop > end
    return True


def _matroska_end(file: BinaryIO) -> int:
    """Where the first segment ends by its header; 0 where that is left open."""
    position = 4
    for name in (b"", b"\x18S\x80g"):
        file.seek(position)
        if file.read(len(name)) != name:
            return 0
        first = file.read(1)
        length = 9 - (first[0].bit_length() if first else 0)
        rest = file.read(min(length, 8) - 1)
        size = int.from_bytes(first + rest) & ((1 << 7 * length) - 1)
        position = file.tell() + size
        if size == (1 << 7 * length) - 1:
            return 0
        if name:
            return position
        position = file.tell() + size
    return 0


def _boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the outer boxes of an MP4."""
    start = 0
    while start + 8 <= end:
        file.seek(start)
        size, kind = int.from_bytes(file.read(4)), file.read(4)
        if size == 1:
            size = int.from_bytes(file.read(8))
        elif size == 0:
            size = end - start
        if size < 8:
            return
        yield kind, start, start + size
        start += size


@runtime_checkable
class _Encoder(Protocol):
    def add(self, frame: UInt8[np.ndarray, "H W 3"], seconds: float) -> None:
        """Append a frame."""

    def close(self) -> None:
        """Finish the file."""


class _H264:
    """A film that browsers play; each frame keeps its time. Needs PyAV.

    Its sides are even: an odd one gets its last pixels twice.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        import av

        self._av, self._last = av, -1
        self._duration = round(_TICKS / rate)
        self._container = av.open(path, "w", format="mp4")
        options = {"preset": "veryfast", "crf": "20"}
        self._stream: Any = self._container.add_stream("libx264", options=options)
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)

    def add(self, frame: UInt8[np.ndarray, "H W 3"], seconds: float) -> None:
        odd = frame.shape[0] % 2, frame.shape[1] % 2
        if any(odd):
            edges = (0, odd[0], 0, odd[1])
            frame = cv2.copyMakeBorder(frame, *edges, cv2.BORDER_REPLICATE)
        picture = self._av.VideoFrame.from_ndarray(frame, format="rgb24")
        self._last = max(self._last + 1, round(seconds * _TICKS))
        picture.pts, picture.time_base = self._last, Fraction(1, _TICKS)
        self._mux(picture)

    def close(self) -> None:
        self._mux(None)
        self._container.close()

    def _mux(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = self._duration  # counts for the last one only
            self._container.mux(packet)


class _Mpeg4:
    """A film of a constant rate, written by OpenCV."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        # MPEG-4 counts time in 65535ths of a second at most.
        rate = round(rate, 2) if rate < 600 else float(round(rate))
        self._writer = cv2.VideoWriter(str(path), codec, rate, size)
        if not self._writer.isOpened():
            raise ValueError("got a film that cannot be written")

    def add(self, frame: UInt8[np.ndarray, "H W 3"], seconds: float) -> None:
        del seconds
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


def _make_encoder(path: Path, size: tuple[int, int], rate: float) -> _Encoder:
    with contextlib.suppress(ModuleNotFoundError):
        import av

        if "libx264" in av.codecs_available:
            return _H264(path, size, rate)
    return _Mpeg4(path, size, rate)


class FilmWriter:
    """An MP4 that takes its name when it is closed, whole.

    H.264 with PyAV, the `[video]` extra, else MPEG-4.

    Attributes:
      path: the name.
    """

    def __init__(self, path: Path, *, frames_per_second: float) -> None:
        """Write nothing yet; the first frame sets the size."""
        self.path = path
        self._file = contextlib.ExitStack()
        self._size: tuple[int, int] | None = None
        self._rate, self._count = frames_per_second, 0
        self._encoder: _Encoder | None = None
        self._temporary: Path | None = None

    def add(
        self, frame: UInt8[np.ndarray, "H W 3"], seconds: float | None = None
    ) -> None:
        """Append a frame at its time, seconds; by default as the rate has it.

        Raises:
          ValueError: if it cannot be written, or is of another size than the first;
            nothing is written then.
        """
        if seconds is None:
            seconds = self._count / self._rate
        size = (frame.shape[1], frame.shape[0])
        try:
            if self._encoder is None:
                replaced = replacing(self.path, suffix=".mp4")
                self._temporary = self._file.enter_context(replaced)
                self._encoder = _make_encoder(self._temporary, size, self._rate)
                self._size = size
            if size != self._size:
                raise ValueError(
                    f"got a frame of {size}, expected {self._size} as before"
                )
            self._encoder.add(frame, seconds)
            self._count += 1
        except (ValueError, OSError) as error:
            self._discard(error)
            raise ValueError(f"{self.path}: {error}; it is not drawn") from error

    def _discard(self, error: Exception) -> None:
        if self._encoder is not None:
            with contextlib.suppress(ValueError, OSError):
                self._encoder.close()
        self._encoder = None
        with contextlib.suppress(type(error)):
            self._file.__exit__(type(error), error, error.__traceback__)

    def close(self) -> None:
        """Finish the file.

        Raises:
          ValueError: if it cannot be written; nothing is written then.
        """
        if self._encoder is not None:
            try:
                self._encoder.close()
            except (ValueError, OSError) as error:
                self._discard(error)
                raise ValueError(f"{self.path}: {error}; it is not drawn") from error
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
