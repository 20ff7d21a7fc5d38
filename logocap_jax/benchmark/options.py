"""What is measured, from the command line."""

import argparse
import dataclasses
import itertools
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

_Item = TypeVar("_Item")

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One combination of what was asked for.

    Attributes:
      batch: images.
      size: `(height, width)`, input px.
      dtype: of the convolutions.
    """

    batch: int
    size: tuple[int, int]
    dtype: str

    def __str__(self) -> str:
        """As rows are called."""
        return f"batch {self.batch}, {self.size[0]}x{self.size[1]}, {self.dtype}"


def load_config(path: Path, changes: dict[str, Any]) -> ConfigDict:
    """Run a config file and change some of its settings.

    Args:
      path: a Python file with `get_config()`; see `configs/`.
      changes: dotted name -> value.

    Raises:
      ValueError: no config, a name that it lacks, or a value of another type.
    """
    if not path.is_file():
        raise ValueError(f"got --config {path}, expected a file; see configs/")
    names = runpy.run_path(str(path))
    if "get_config" not in names:
        raise ValueError(f"{path}: expected a function get_config()")
    config: ConfigDict = names["get_config"]()
    try:
        config.update_from_flattened_dict(changes)
    except (KeyError, TypeError) as error:
        reason = str(error.args[0]).partition(". ")[0]  # then all fields, by the page
        raise ValueError(f"--set does not fit {path}: {reason}") from error
    return config


def all_settings(
    args: argparse.Namespace, config: ConfigDict, *, batch: int, side: int
) -> Iterator[Setting]:
    """All combinations of batches, sizes and dtypes, from the options or by default.

    Args:
      args: with `batch`, `size` and `dtype`, each text or None.
      config: says the dtype by default.
      batch: images by default.
      side: of the input by default, px.

    Raises:
      ValueError: if a text is not a list of what it should be.
    """
    batches = split(args.batch, positive("--batch")) or [batch]
    sizes = split(args.size, _size) or [(side, side)]
    dtypes = split(args.dtype, _dtype) or [config.method.dtype]
    for dtype, size, count in itertools.product(dtypes, sizes, batches):
        yield Setting(count, size, dtype)


def split(text: str | None, parse: Callable[[str], _Item]) -> list[_Item]:
    """The parts of `a,b,c`; none of None."""
    return [] if text is None else [parse(part) for part in text.split(",")]


def positive(option: str) -> Callable[[str], int]:
    """Reads whole numbers from 1 on.

    Args:
      option: that they are of, for the error.
    """

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{option}: got {text!r}, expected numbers such as 1,8")
        return int(text)

    return parse


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size: got {text!r}, expected HxW such as 512x768")
    size = int(height), int(width)
    if min(size) < 64 or any(side % 32 for side in size):
        raise ValueError(f"--size: got {text}, expected multiples of 32 from 64 on")
    return size


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise ValueError(f"--dtype: got {text!r}, expected some of {','.join(DTYPES)}")
    return text
