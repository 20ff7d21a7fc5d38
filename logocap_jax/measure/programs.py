"""Compiled programs: time to compile, memory and operations by the compiler."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from logocap_jax.device_memory import DoesNotFitError, explaining_memory, in_gib


class Memory(NamedTuple):
    """Device memory of one compiled program, bytes per device."""

    arguments: int  #: inputs, weights among them
    outputs: int  #: results
    aliased: int  #: outputs that take the place of donated arguments
    temporary: int  #: everything in between, at its peak
    code: int  #: the program itself, where the backend counts it

    @property
    def total(self) -> int:
        """The peak of all together."""
        return self.arguments + self.outputs - self.aliased + self.temporary + self.code

    @property
    def need(self) -> str:
        """The total in words."""
        return (
            f"needs {in_gib(self.total)} of device memory "
            f"({in_gib(self.temporary)} of them temporary)"
        )


class Program(NamedTuple):
    """A compiled function."""

    run: Callable[..., Any]  #: calls it
    compile_seconds: float  #: from tracing to the executable
    #: Operations on one device by XLA's cost analysis; None where it has none. The body
    #: of a loop is counted once, and library calls may be left out.
    flops: float | None
    accessed: float | None  #: bytes read and written on one device, by the same
    memory: Memory | None  #: by XLA's buffer assignment; None where it has none

    @property
    def text(self) -> str:
        """The optimised program, HLO."""
        return self.run.as_text()  # type: ignore[attr-defined]


def compile_program(
    function: Callable[..., Any], *arguments: Any, advice: str = ""
) -> Program:
    """Compile for arguments, or for their `jax.ShapeDtypeStruct`s.

    `advice` is for the error, see `explaining_memory`.

    Raises:
      DoesNotFitError: if the compiler finds that it cannot fit.
    """
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    start = time.perf_counter()
    with explaining_memory(advice):
        compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    costs = compiled.cost_analysis() or {}
    flops, accessed = (costs.get(name, 0.0) for name in ("flops", "bytes accessed"))
    return Program(
        run=compiled,
        compile_seconds=seconds,
        flops=flops if flops > 0 else None,
        accessed=accessed if accessed > 0 else None,
        memory=_memory(compiled),
    )


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
        raise DoesNotFitError(f"{memory.need}, {in_gib(available)} is there")


def peak_memory() -> int | None:
    """Peak bytes in use on the default device so far; None: unknown."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")
