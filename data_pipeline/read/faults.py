"""What is wrong with the records of a data set, and how it is reported: all at once."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from data_pipeline.read.records import ImageRecord


class Fault(NamedTuple):
    """One thing that is wrong with one record.

    Attributes:
      file: the file that holds the record.
      record: how to call it, e.g. `annotation 7`.
      reason: what was got, and what was expected.
    """

    file: str
    record: str
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.file}: {self.record}: {self.reason}"


def image_fault(record: ImageRecord, folder: pathlib.Path, error: ValueError) -> Fault:
    """What `decode_image` found.

    Args:
      record: whose image it is.
      folder: the data set.
      error: what was raised; it names the record itself.
    """
    file = record.image if isinstance(record.image, pathlib.Path) else folder
    return Fault(str(file), record.name, str(error).removeprefix(f"{record.name}: "))


def raise_faults(faults: Sequence[Fault], *, shown: int = 20) -> None:
    """Report all bad records at once, the first `shown` in words.

    Raises:
      ValueError: unless `faults` is empty.
    """
    if faults:
        more = [f"... and {len(faults) - shown} more"] if len(faults) > shown else []
        lines = [f"{len(faults)} bad records:", *map(str, faults[:shown]), *more]
        raise ValueError("\n  ".join(lines))
