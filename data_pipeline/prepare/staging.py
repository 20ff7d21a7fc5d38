"""Folders that appear whole or not at all."""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def staging(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write in before it takes its name; what a kill left is removed.

    Raises:
      ValueError: if another process prepares `out`.
    """
    folder = out.with_name(f".{out.name}.incomplete")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder / "data", ignore_errors=True)
        try:
            yield folder / "data"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError as error:
        raise ValueError(
            f"{out}: got another process that prepares it, expected none; wait for it"
        ) from error
    finally:
        os.close(lock)
