"""The sound of a film, copied into the film that was drawn from it.

Packets are copied as they are: nothing is decoded, no quality is lost. Needs PyAV, the
`[video]` extra; OpenCV knows no sound.
"""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logocap_jax.atomic import replacing

_MISSING = (
    "films are written without their sound; pip install 'logocap-jax[video]' keeps it"
)


def copy_sound(source: Path, drawn: Path) -> str | None:
    """Add the sound of a film to another of the same rate, as long as that is.

    Args:
      source: where the sound is.
      drawn: an MP4 without sound; replaced by one with it, whole.

    Returns:
      One line, if the film stays without sound that might be there.
    """
    try:
        import av
    except ModuleNotFoundError:
        return _MISSING
    try:
        with av.open(source) as given, av.open(drawn) as pictures:
            if not given.streams.audio:
                return None
            with (
                replacing(drawn) as temporary,
                av.open(temporary, "w", format="mp4") as result,
            ):
                _copy(given, pictures, result)
    except (av.FFmpegError, ValueError):  # the latter for a codec no MP4 holds
        return f"{drawn}: without sound; that of {source} does not fit into an MP4"
    return None


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
