"""Compiled programs: what compiling takes, and what the compiler says of them."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

_GIB = 2**30


class DoesNotFitError(ValueError):
    """A program needs more memory than its device has."""


class Memory(NamedTuple):
    """Device memory of one compiled program, bytes per device.

    Attributes:
      arguments: what goes in, weights among it.
      outputs: what comes out.
      aliased: outputs that take the place of donated arguments.
      temporary: all between, at its peak.
      code: the program itself, where the backend counts it.
    """

    arguments: int
    outputs: int
    aliased: int
    temporary: int
    code: int

    @property
    def total(self) -> int:
        """All that is there at the same time."""
        return self.arguments + self.outputs - self.aliased + self.temporary + self.code


class Program(NamedTuple):
    """A compiled function.

    Attributes:
      run: calls it.
      compile_seconds: from tracing to the executable.
      flops: operations on one device by the compiler's count; None where it has none.
        What a loop repeats is counted once, and calls of libraries may be left out.
      memory: by the compiler's buffer assignment; None where it has none.
    """

    run: Callable[..., Any]
    compile_seconds: float
    flops: float | None
    memory: Memory | None


def compile_program(function: Callable[..., Any], *arguments: Any) -> Program:
    """Compile for arguments, or for their `jax.ShapeDtypeStruct`s.

    Args:
      function: jitted or not.
      *arguments: pytrees.

    Raises:
      DoesNotFitError: if the compiler finds that it cannot fit.
    """
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    began = time.perf_counter()
    with explaining_memory(None):
        compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - began
    costs = compiled.cost_analysis() or {}
    flops = costs.get("flops", 0.0)
    return Program(compiled, seconds, flops if flops > 0 else None, _memory(compiled))


def _memory(compiled: Any) -> Memory | None:
    stats = compiled.memory_analysis()
    if stats is None:
        return None
    return Memory(
        arguments=stats.argument_size_in_bytes,
        outputs=stats.output_size_in_bytes,
        aliased=stats.alias_size_in_bytes,
        temporary=stats.temp_size_in_bytes,
        code=stats.generated_code_size_in_bytes,
    )


def require_fit(memory: Memory | None, available: int | None) -> None:
    """Check that a program fits, where both sizes are known.

    Raises:
      DoesNotFitError: says how much is needed and how much is there.
    """
    if memory is not None and available is not None and memory.total > available:
        raise DoesNotFitError(_too_much(memory, available))


@contextlib.contextmanager
def explaining_memory(memory: Memory | None) -> Iterator[None]:
    """Turn a device's complaint about memory into one line.

    Raises:
      DoesNotFitError: says how much is needed and how much is there.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        if memory is None:
            reason = " ".join(str(error).split())[:200]
        else:
            reason = _too_much(memory, available_memory())
        raise DoesNotFitError(reason) from error


def available_memory() -> int | None:
    """Bytes that the default device has for this process; None: unknown.

    On a CPU that is what the host has left (Linux only).
    """
    if stats := jax.local_devices()[0].memory_stats():
        return stats.get("bytes_limit")
    meminfo = pathlib.Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def peak_memory() -> int | None:
    """The most bytes that were in use on the default device so far; None: unknown."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")


def _too_much(memory: Memory, available: int | None) -> str:
    there = "an unknown amount" if available is None else f"{available / _GIB:.2f} GiB"
    return (
        f"needs {memory.total / _GIB:.2f} GiB of device memory ("
        f"{memory.temporary / _GIB:.2f} of them temporary), {there} is there"
    )
