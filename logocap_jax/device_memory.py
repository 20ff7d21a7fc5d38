"""One-line out-of-memory errors."""

import contextlib
import pathlib
import re
from collections.abc import Iterator

import jax

_GIB = 2**30
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# A number of bytes as XLA writes it: `8589934592 bytes`, `12.00GiB`, `17.70G`.
_SIZE = r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:i?B|(?: bytes)?)\b"
# Messages of XLA: a TPU's compiler of the whole program, allocators of one piece.
_PROGRAM = re.compile(rf"Used {_SIZE} of {_SIZE} hbm")
_PIECE = re.compile(rf"(?:allocat\w+|allocate request for|reserve) {_SIZE}")
_FREE = re.compile(rf"There are {_SIZE} free")


class DoesNotFitError(ValueError):
    """A program needs more memory than its device has."""

    exit_code = 10


@contextlib.contextmanager
def explaining_memory(advice: str = "", *, needed: str = "") -> Iterator[None]:
    """Turn a device's or compiler's complaint about memory into one line.

    Args:
      advice: the options that lower the need; empty: the caller adds them.
      needed: the program's need, where it is known; else XLA's message tells.

    Raises:
      DoesNotFitError: says how much is needed, how much is there, and the advice.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        message = " ".join(str(error).split())
        if "RESOURCE_EXHAUSTED" not in message:
            raise
        needs = f"{needed}, {_there()}" if needed else _needs(message)
        raise DoesNotFitError(f"{needs}; {advice}" if advice else needs) from error


def available_memory() -> int | None:
    """Bytes that the default device has for this process; None: unknown.

    A CPU has those of the host.
    """
    if stats := jax.local_devices()[0].memory_stats():
        return stats.get("bytes_limit")
    return host_memory()


def host_memory() -> int | None:
    """Bytes that the host has left; None: unknown, as on all systems but Linux."""
    meminfo = pathlib.Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def in_gib(size: int) -> str:
    """A number of bytes in words."""
    return f"{size / _GIB:.2f} GiB"


def _needs(message: str) -> str:
    """The need and the available memory in XLA's message, in words."""
    if program := _PROGRAM.search(message):
        used, limit = _bytes(*program.groups()[:2]), _bytes(*program.groups()[2:])
        return f"needs {in_gib(used)} of device memory, {in_gib(limit)} is there"
    if piece := _PIECE.search(message):
        free = _FREE.search(message)
        there = f"{in_gib(_bytes(*free.groups()))} is free" if free else _there()
        asked = in_gib(_bytes(*piece.groups()))
        return f"asks for {asked} of device memory in one piece, {there}"
    return f"needs more device memory than there is ({message[:200]})"


def _there() -> str:
    size = available_memory()
    return "an unknown amount is there" if size is None else f"{in_gib(size)} is there"


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])
