"""Metrics to JSONL and TensorBoard, and the progress line."""

import contextlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from logocap_jax.atomic import replacing
from logocap_jax.training.errors import SaveError


class MetricWriter:
    """Appends metrics to `metrics.jsonl` and TensorBoard files in a folder.

    Attributes:
      known: names of the metrics in the old file's line of the first step.
    """

    def __init__(
        self, workdir: Path, *, first_step: int = 0, writes: bool = True
    ) -> None:
        """Open the files.

        Args:
          workdir: folder of the run.
          first_step: the step that the run goes on from; lines of later steps, from
            before an interruption, are dropped, so that each step stands once.
          writes: False leaves the files to another process.

        Raises:
          ValueError: if a line of an old file is damaged; the last one may be cut
            short by a kill, and is dropped.
        """
        path = workdir / "metrics.jsonl"
        kept, self.known = _lines_up_to(path, first_step)
        self._writes = writes
        if not writes:
            return
        with replacing(path) as temporary:
            temporary.write_bytes(kept)
        self._file: TextIO = path.open("a", encoding="utf-8")
        # Not a `SummaryWriter`: that one writes in a thread, and waits without end for
        # it once it died of a full disk.
        self._board = EventsWriter(str(workdir / "events"))
        # TensorBoard forgets what comes after this step.
        start = SessionLog(status=SessionLog.START)
        self._board.write_event(
            Event(step=first_step + 1, wall_time=time.time(), session_log=start)
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line; names are paths such as `loss/heatmap`.

        JSON has no NaN and no infinity: they are written as `null`.

        Raises:
          SaveError: if it cannot be written.
        """
        if not self._writes:
            return
        finite = {
            name: value if math.isfinite(value) else None
            for name, value in metrics.items()
        }
        line = json.dumps({"step": step, **finite}, allow_nan=False)
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in metrics.items()
        ]
        event = Event(step=step, wall_time=time.time(), summary=Summary(value=values))
        try:
            self._file.write(line + "\n")
            self._file.flush()
            self._board.write_event(event)
            self._board.flush()
        except OSError as error:
            raise SaveError(
                f"{self._file.name}: could not write the metrics: {error}; free some "
                "space, then run the same command again"
            ) from error

    def close(self) -> None:
        """Close the files."""
        if self._writes:
            # Where this fails `write` has failed before, and has told of it.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._board.close()


def _lines_up_to(path: Path, step: int) -> tuple[bytes, frozenset[str]]:
    """The lines up to those of a step, and the names in that step's own."""
    if not path.exists():
        return b"", frozenset()
    kept, names = [], set()
    *lines, _ = path.read_bytes().split(b"\n")  # after the last newline: a cut line
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            line_step = record["step"]
            if line_step <= step:
                kept.append(line + b"\n")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: line {number}: got {line[:60]!r}, expected an object with "
                "a step; mend or drop the line"
            ) from error
        if line_step == step:
            names |= record.keys()
    return b"".join(kept), frozenset(names)


class Stopwatch:
    """Time of the training loop between two log lines, by what it was spent on."""

    def __init__(self) -> None:
        """Start."""
        self._restart()

    def _restart(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0
        self._steps = 0

    def waited(self, seconds: float) -> None:
        """Count one step that waited so long for its data."""
        self._waited += seconds
        self._steps += 1

    def read(self, batch_size: int) -> dict[str, float]:
        """Speed since the last reading; start anew."""
        elapsed = time.perf_counter() - self._start
        result = {
            "images_per_second": self._steps * batch_size / elapsed,
            "data_wait_share": self._waited / elapsed,
            "seconds_per_step": elapsed / max(self._steps, 1),
        }
        self._restart()
        return result


def progress_line(
    step: int, num_steps: int, metrics: Mapping[str, float], steps_per_epoch: int
) -> str:
    """Progress of training in one line.

    Metrics are `loss/total`, its terms and counts, `lr`, and those of `Stopwatch.read`.
    """
    terms = ", ".join(
        f"{name.removeprefix('loss/')} {value:.3g}"
        for name, value in metrics.items()
        if name.startswith("loss/") and name != "loss/total"
    )
    counts = [
        f"{name.removeprefix('count/').replace('_', ' ')} {value:.1f}"
        for name, value in metrics.items()
        if name.startswith("count/")
    ]
    skipped = metrics.get("skipped_steps", 0)
    minutes, seconds = divmod(int((num_steps - step) * metrics["seconds_per_step"]), 60)
    return "  ".join(
        [
            f"step {step}/{num_steps}",
            f"epoch {step / steps_per_epoch:.1f}",
            f"loss {metrics['loss/total']:.4g} ({terms})",
            *counts,
            *([f"skipped {skipped}"] if skipped else []),
            f"lr {metrics['lr']:.1e}",
            f"{metrics['images_per_second']:.1f} images/s",
            f"data wait {metrics['data_wait_share']:.0%}",
            f"ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}",
        ]
    )
