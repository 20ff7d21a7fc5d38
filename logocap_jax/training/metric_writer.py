"""Metrics to JSONL and TensorBoard, and the progress line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tensorboardX import SummaryWriter


class MetricWriter:
    """Appends metrics to `metrics.jsonl` and TensorBoard files in a folder."""

    def __init__(self, workdir: Path, *, first_step: int = 0) -> None:
        """Open the files.

        Args:
          workdir: folder of the run.
          first_step: the step that the run goes on from; lines of later steps, from
            before an interruption, are dropped, so that each step stands once.
        """
        path = workdir / "metrics.jsonl"
        _drop_lines_after(path, first_step)
        self._file: TextIO = path.open("a")
        self._board = SummaryWriter(str(workdir), purge_step=first_step + 1)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line; names are paths such as `loss/heatmap`."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
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
    kept = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a killed run may be cut short
        if record["step"] <= step:
            kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    temporary.replace(path)


class Stopwatch:
    """Where the time of the training loop goes, between two log lines."""

    def __init__(self) -> None:
        """Start."""
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
        self.__init__()  # type: ignore[misc]
        return result


def progress_line(
    step: int, num_steps: int, metrics: Mapping[str, float], steps_per_epoch: int
) -> str:
    """One line for a person to read: where training is and how it goes."""
    losses = "  ".join(
        f"{name.removeprefix('loss/')} {value:.3g}"
        for name, value in metrics.items()
        if name.startswith("loss/")
    )
    remaining = (num_steps - step) * metrics["seconds_per_step"]
    return (
        f"step {step}/{num_steps}  epoch {step / steps_per_epoch:.1f}  {losses}  "
        f"lr {metrics['lr']:.1e}  {metrics['images_per_second']:.1f} images/s  "
        f"data wait {metrics['data_wait_share']:.0%}  "
        f"ETA {int(remaining // 3600)}:{int(remaining % 3600 // 60):02d}"
        f":{int(remaining % 60):02d}"
    )
