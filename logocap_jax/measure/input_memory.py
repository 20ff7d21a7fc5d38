"""Resident memory of this process and of its input workers."""

import dataclasses
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Resident:
    """One reading, bytes.

    Attributes:
      trainer: of this process.
      workers: of all its workers together.
    """

    trainer: int
    workers: int


def read_resident() -> Resident | None:
    """What is resident now; None where the system does not tell (it is not Linux)."""
    children = multiprocessing.active_children()
    try:
        trainer, *workers = (
            _resident_bytes(pid)
            for pid in (os.getpid(), *(child.pid for child in children))
        )
    except FileNotFoundError:
        return None
    return Resident(trainer, sum(workers))


def growth_line(readings: Sequence[Resident], *, batches: int) -> str:
    """From the first reading to the last one, in words.

    Args:
      readings: two or more.
      batches: between the first and the last.
    """
    first, last = readings[0], readings[-1]
    told = [f"trainer {first.trainer / _MIB:.0f} to {last.trainer / _MIB:.0f} MiB"]
    if first.workers:
        told.append(f"workers {first.workers / _MIB:.0f} to {last.workers / _MIB:.0f}")
    return f"memory over {batches} batches: {', '.join(told)}"


def _resident_bytes(pid: int | None) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
