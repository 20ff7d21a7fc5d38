"""Metrics to JSONL and TensorBoard, and the progress line."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tensorboardX import SummaryWriter

# Metrics among the losses that are none, and what the progress line calls them.
_COUNTS = {"loss/matched_slots": "matched"}


class MetricWriter:
    """Appends metrics to `metrics.jsonl` and TensorBoard files in a folder."""

    def __init__(self, workdir: Path, *, first_step: int = 0) -> None:
        """Open the files.

        Args:
          workdir: folder of the run.
          first_step: the step that the run goes on from; lines of later steps, from
            before an interruption, are dropped, so that each step stands once.

        Raises:
          ValueError: if a line of an old file is damaged; the last one may be cut
            short by a kill, and is dropped.
        """
        path = workdir / "metrics.jsonl"
        _drop_lines_after(path, first_step)
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(workdir), purge_step=first_step + 1)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line; names are paths such as `loss/heatmap`.

        JSON has no NaN and no infinity: they are written as `null`.
        """
        finite = {
            name: value if math.isfinite(value) else None
            for name, value in metrics.items()
        }
        self._file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._board.close()


def _drop_lines_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    *lines, _ = path.read_bytes().split(b"\n")  # after the last newline: a cut line
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            later = json.loads(line)["step"] > step
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: line {number}: got {line[:60]!r}, expected an object with "
                "a step; mend or drop the line"
            ) from error
        if not later:
            kept.append(line + b"\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(b"".join(kept))
    temporary.replace(path)


class Stopwatch:
    """Where the time of the training loop goes, between two log lines."""

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
        """Speed since the last reading, and start anew."""
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
    """One line for a person to read: where training is and how it goes.

    Args:
      step: steps taken.
      num_steps: steps in all.
      metrics: `loss/total` and its terms, `lr`, and what `Stopwatch.read` returns.
      steps_per_epoch: steps in one epoch.
    """
    terms = ", ".join(
        f"{name.removeprefix('loss/')} {value:.3g}"
        for name, value in metrics.items()
        if name.startswith("loss/") and name != "loss/total" and name not in _COUNTS
    )
    counts = [
        f"{title} {metrics[name]:.1f}"
        for name, title in _COUNTS.items()
        if name in metrics
    ]
    minutes, seconds = divmod(int((num_steps - step) * metrics["seconds_per_step"]), 60)
    return "  ".join(
        [
            f"step {step}/{num_steps}",
            f"epoch {step / steps_per_epoch:.1f}",
            f"loss {metrics['loss/total']:.4g} ({terms})",
            *counts,
            f"lr {metrics['lr']:.1e}",
            f"{metrics['images_per_second']:.1f} images/s",
            f"data wait {metrics['data_wait_share']:.0%}",
            f"ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}",
        ]
    )
