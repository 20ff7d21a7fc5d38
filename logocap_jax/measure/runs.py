"""Running compiled programs, and what they say of themselves as rows."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import SingleDeviceSharding

from logocap_jax.device_memory import available_memory, explaining_memory
from logocap_jax.measure.hlo import parse_hlo
from logocap_jax.measure.launches import count_launches
from logocap_jax.measure.memory_traffic import main_memory_bytes
from logocap_jax.measure.options import Setting
from logocap_jax.measure.peaks import find_peak
from logocap_jax.measure.programs import (
    Program,
    compile_program,
    peak_memory,
    require_fit,
)
from logocap_jax.measure.rows import Row
from logocap_jax.measure.timing import Timing, measure

PROGRAM_MEMORY = "compiled.memory_analysis"
DEVICE_MEMORY = "device.memory_stats"


class Item(NamedTuple):
    """Something to time that has run once.

    Attributes:
      row: all but the times.
      call: runs it.
      queued: many calls, one behind the other, make a sample where one is short.
    """

    row: Row
    call: Callable[[], Any]
    queued: bool = True


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is done for the figures.

    Attributes:
      rounds: samples of each time, at least.
      seconds: that short calls go on for beyond that.
      compile_only: run nothing.
      peak_tflops: of the device, in every dtype; None: from the table.
      device: to compile for, where nothing is to run; None: the one that is there.
    """

    rounds: int = 10
    seconds: float = 5.0
    compile_only: bool = False
    peak_tflops: float | None = None
    device: Any = None

    def compile(self, name: str, function: Callable[..., Any], *shapes: Any) -> Program:
        """Compile; what is to run must fit.

        Raises:
          DoesNotFitError: if it will not.
        """
        tell(f"  compile {name}")
        if self.device is not None:
            shapes = jax.tree.map(self._on_device, shapes)
        program = compile_program(function, *shapes)
        if not self.compile_only:
            require_fit(program.memory, available_memory())
        return program

    def _on_device(self, leaf: Any) -> jax.ShapeDtypeStruct:
        if isinstance(leaf, jax.ShapeDtypeStruct) and leaf.sharding is not None:
            return leaf
        sharding = SingleDeviceSharding(self.device)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def measure(self, items: Sequence[Item], dtype: str) -> list[Row]:
        """Time items in turn; see `timing.measure`."""
        tell(f"  measure {len(items)} rows")
        timings = measure(
            {item.row.key: item.call for item in items},
            rounds=self.rounds,
            seconds=self.seconds,
            queue=frozenset(item.row.key for item in items if item.queued),
            progress=lambda done, total: (
                tell(f"  round {done} of {total}") if done <= total else None
            ),
        )
        return [self._timed(item.row, timings[item.row.key], dtype) for item in items]

    def _timed(self, row: Row, timing: Timing, dtype: str) -> Row:
        peak = self._peak_flops(dtype)
        share = row.flops / timing.median / peak if row.flops and peak else None
        return dataclasses.replace(row, timing=timing, peak_share=share)

    def _peak_flops(self, dtype: str) -> float | None:
        if self.peak_tflops is not None:
            return self.peak_tflops * 1e12
        peak = find_peak(jax.local_devices()[0].device_kind)
        return None if peak is None else peak.flops(dtype)


def tell(text: str) -> None:
    """Say how far things are."""
    print(text, file=sys.stderr, flush=True)


def read_row(name: str, setting: Setting, program: Program) -> Row:
    """The row of a program that is read, not run: `compiled_row`, and what it does."""
    module = parse_hlo(program.text)
    return dataclasses.replace(
        compiled_row(name, setting, program),
        traffic=main_memory_bytes(module),
        launches=count_launches(module),
    )


def compiled_row(name: str, setting: Setting, program: Program) -> Row:
    """The row of a program that has not run."""
    known = program.memory is not None
    return Row(
        *(name, str(setting), setting.batch),
        compile_seconds=program.compile_seconds,
        flops=program.flops,
        memory_bytes=program.memory.total if program.memory else None,
        memory_source=PROGRAM_MEMORY if known else None,
    )


def run_first(
    name: str, setting: Setting, program: Program, *values: Any
) -> tuple[Item, Any]:
    """Run a program once and read how much memory that took.

    A device tells its peak since the process began. Where this run did not raise that,
    the compiler's figure is taken.

    Returns:
      What to time, and what the program gave.

    Raises:
      DoesNotFitError: if the device has not enough memory.
    """
    row = compiled_row(name, setting, program)
    before = peak_memory()
    with explaining_memory(needed=program.memory.need if program.memory else ""):
        result = jax.block_until_ready(program.run(*values))
    after = peak_memory()
    if before is not None and after is not None and after > before:
        row = dataclasses.replace(row, memory_bytes=after, memory_source=DEVICE_MEMORY)
    return Item(row, functools.partial(program.run, *values)), result
