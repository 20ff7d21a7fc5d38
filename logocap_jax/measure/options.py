"""What is measured, from the command line."""

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

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
