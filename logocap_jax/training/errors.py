"""Why a run ends early, each with the exit code that tells it to a script.

Any other mistake of the user's is a plain `ValueError` or `OSError`: exit code 2.
"""

import contextlib
from collections.abc import Iterator


class MismatchError(ValueError):
    """A checkpoint is of another config or architecture."""

    exit_code = 3


class DataError(ValueError):
    """Images or annotations cannot be used."""

    exit_code = 4


class NoUsableCheckpointError(ValueError):
    """There are checkpoints, and all are damaged."""

    exit_code = 5


class DivergedError(ValueError):
    """Loss or gradients are not finite."""

    exit_code = 6


class SaveError(OSError):
    """A file of the run could not be written, most likely for want of space."""

    exit_code = 7


class LockedError(ValueError):
    """Another process trains this run."""

    exit_code = 8


class WorkerError(OSError):
    """An input worker has died or is stuck; the same command may well work again."""

    exit_code = 9


@contextlib.contextmanager
def as_data_error() -> Iterator[None]:
    """Raise errors from here as faults of the data, not of the config."""
    try:
        yield
    except ValueError as error:
        raise DataError(*error.args) from error
    except ChildProcessError as error:
        raise WorkerError(*error.args) from error
