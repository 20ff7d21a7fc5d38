"""Files that are written whole or not at all."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

_END = 256  # bytes


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


def check_target(
    path: str | os.PathLike[str],
    *,
    ours: str,
    inputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
) -> None:
    """Check that writing a file will work and lose nothing, before any work.

    The one rule of all commands: an input is never written over, and any other file
    only if this program has written it as the same kind, which its ends tell, or where
    it is told to.

    Args:
      path: the file to write.
      ours: pattern of the first bytes of such files, or of their last ones.
      inputs: files that are read.
      overwrite: replace whatever file is there.

    Raises:
      ValueError: if a file of the user's would be lost, or as `check_writable`.
    """
    path = pathlib.Path(path)
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path}: no such folder")
    if path.is_file():
        if any(os.path.exists(one) and path.samefile(one) for one in inputs):
            raise ValueError(f"{path}: got an input as a target; name another one")
        pattern = re.compile(ours.encode(), re.DOTALL)
        if not overwrite and not any(map(pattern.search, _ends_of(path))):
            raise ValueError(
                f"{path}: exists, and is not what this command writes; name another "
                "target, remove it, or give --overwrite"
            )
    check_writable(path)


def _ends_of(path: pathlib.Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    with path.open("rb") as stream:
        first = stream.read(_END)
        stream.seek(max(0, path.stat().st_size - _END))
        return first, stream.read(_END)


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
