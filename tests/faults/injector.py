"""The faults that tests inject; each is a value that says what breaks, and when.

`Damage` is for files, `Sent` and `FullDisk` are for a run of `train.py` (`Run.meet` in
conftest.py), `KillAtEvent` is for the process that arms it, `poison` for a batch.
"""

import contextlib
import dataclasses
import os
import pathlib
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

# Content of a file -> what is left of it; None: no file.
Damage = Callable[[bytes], bytes | None]


class FlipBit(NamedTuple):
    """Changes a bit of the byte before which lies a share of the file."""

    at: float = 0.5
    bit: int = 0

    def __call__(self, content: bytes) -> bytes:
        spoiled = bytearray(content)
        spoiled[int(len(content) * self.at)] ^= 1 << self.bit
        return bytes(spoiled)


class Truncate(NamedTuple):
    """Keeps the first share of a file."""

    share: float

    def __call__(self, content: bytes) -> bytes:
        return content[: int(len(content) * self.share)]


def remove(content: bytes) -> None:
    """Leaves no file."""
    del content


def damage(path: pathlib.Path, how: Damage) -> bytes:
    """Damage a file; returns what it held."""
    content = path.read_bytes()
    left = how(content)
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    return content


@contextlib.contextmanager
def damaged(path: pathlib.Path, how: Damage) -> Iterator[None]:
    """Damage a file for a while."""
    content = damage(path, how)
    try:
        yield
    finally:
        path.write_bytes(content)


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def largest_of_newest(checkpoints: pathlib.Path) -> pathlib.Path:
    """The largest file of the newest checkpoint's arrays."""
    steps = (path for path in checkpoints.iterdir() if path.name.isdigit())
    newest = max(steps, key=lambda path: int(path.name))
    return max(files(newest / "state"), key=lambda path: path.stat().st_size)


class Sent(NamedTuple):
    """A signal to a run, once it has written a line.

    `to` is the trainer, its process group as a terminal or scheduler has it, or one of
    its input workers: SIGKILL to kill that, SIGSTOP to hang it.
    """

    number: signal.Signals
    after: str = "step 2/"
    to: Literal["trainer", "group", "worker"] = "trainer"
    times: int = 1


class FullDisk(NamedTuple):
    """No file of a run can grow beyond a size, once it has written a line.

    A limit on the size of files needs no rights. (Python ignores its signal.)
    """

    max_bytes: int
    after: str = "step 2/"


def limit_files(max_bytes: int = resource.RLIM_INFINITY, pid: int = 0) -> None:
    """Let no file of a process (this one) grow beyond a size; again any by default."""
    limits = max_bytes, resource.RLIM_INFINITY
    resource.prlimit(pid or os.getpid(), resource.RLIMIT_FSIZE, limits)


@dataclasses.dataclass
class KillAtEvent:
    """Kills this process at the k-th change of the file system below a folder.

    Python makes, renames, removes and opens files where an audit hook can see it;
    TensorStore, which writes arrays, does not.
    """

    folder: pathlib.Path
    event: int
    seen: int = 0
    armed: bool = True

    def arm(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or not _changes_files(event, arguments):
            return
        if str(self.folder) in str(arguments[0]):
            self.seen += 1
            if self.seen == self.event:
                os.kill(os.getpid(), signal.SIGKILL)


def _changes_files(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax+"))
    return event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def poison(
    arrays: Mapping[str, np.ndarray], field: str, value: Any
) -> dict[str, np.ndarray]:
    """A batch with a value all over one of its arrays."""
    return {**arrays, field: np.full_like(arrays[field], value)}
