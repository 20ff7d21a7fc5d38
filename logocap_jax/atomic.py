"""Files that are written whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], *, suffix: str = ".tmp"
) -> Iterator[pathlib.Path]:
    """A name to write to, which takes the place of `path` once all is written.

    Args:
      path: the file; an old one is replaced.
      suffix: of the name to write to, for a writer that goes by it.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out whether `replacing(path)` will work, before the work for it is done.

    Permissions do not tell (of a read-only disk, say), so a file is made and removed;
    where folders are still to be made, in the nearest one that there is.

    Raises:
      ValueError: if a folder has the name, or nothing can be written there.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: got a folder, expected a file to write")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    probe = nearest / f".{path.name}.{os.getpid()}.tmp"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written, {nearest} takes no file: {error.strerror}"
        ) from error
