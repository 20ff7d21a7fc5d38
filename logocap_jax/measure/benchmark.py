"""Settings and options of a benchmark; from a command line to tables and files."""

import argparse
import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from ml_collections import ConfigDict

from logocap_jax.atomic import check_target
from logocap_jax.device_memory import (
    DoesNotFitError,
    available_memory,
    explaining_memory,
)
from logocap_jax.experiment.settings import load_config
from logocap_jax.measure import record
from logocap_jax.measure.programs import (
    Program,
    compile_program,
    peak_memory,
    require_fit,
)
from logocap_jax.measure.rows import Row, busy_rows, format_ratios, format_rows, measure
from logocap_jax.measure.topologies import find_devices, parse_topology
from logocap_jax.methods.base import Variables

DTYPES = ("float32", "bfloat16")
PROGRAM_MEMORY = "compiled.memory_analysis"
DEVICE_MEMORY = "device.memory_stats"

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One combination of batch, size and dtype."""

    batch: int  #: images
    size: tuple[int, int]  #: `(height, width)`, input px
    dtype: str  #: of the convolutions

    def __str__(self) -> str:
        """As in the keys of rows."""
        return f"batch {self.batch}, {self.size[0]}x{self.size[1]}, {self.dtype}"


class TimedCall(NamedTuple):
    """A call to time, which has run once."""

    row: Row  #: all but the times
    call: Callable[[], Any]  #: runs it
    #: A sample holds many calls, one behind the other, where one is short.
    queued: bool = True


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """How much is measured."""

    rounds: int = 10  #: least number of samples of each time
    seconds: float = 5.0  #: time to go on for beyond that with short calls
    compile_only: bool = False  #: run nothing
    peak_tflops: float | None = None  #: peak rate of the device; None: unknown
    #: To compile for, where nothing is to run; None: the default device.
    device: Any = None

    def compile(self, name: str, function: Callable[..., Any], *shapes: Any) -> Program:
        """Compile; a program that is to run must fit.

        Raises:
          DoesNotFitError: if it will not.
        """
        log(f"  compile {name}")
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

    def measure(self, calls: Sequence[TimedCall]) -> list[Row]:
        """Time calls in turn; see `timing.measure`."""
        log(f"  measure {len(calls)} rows")
        timings = measure(
            {call.row.key: call.call for call in calls},
            rounds=self.rounds,
            seconds=self.seconds,
            queue=frozenset(call.row.key for call in calls if call.queued),
            progress=lambda done, total: (
                log(f"  round {done} of {total}") if done <= total else None
            ),
        )
        rows = []
        for row in (call.row for call in calls):
            timing, share = timings[row.key], None
            if row.flops and self.peak_tflops:
                share = row.flops / timing.median / (self.peak_tflops * 1e12)
            rows.append(dataclasses.replace(row, timing=timing, peak_share=share))
        return rows


def fill(shapes: Variables) -> Variables:
    """Values that keep activations finite, made faster than by `init`."""
    rng = np.random.default_rng(0)

    def fill_leaf(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) > 1:
            scale = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
            return rng.normal(0, scale, leaf.shape).astype(np.float32)
        ones = path[-1].key in ("scale", "var")
        return np.full(leaf.shape, float(ones), np.float32)

    return jax.tree_util.tree_map_with_path(fill_leaf, shapes)


def log(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def static_row(name: str, setting: Setting, program: Program, **rest: Any) -> Row:
    """Row for a compiled program that is not executed."""
    memory = program.memory
    return Row(
        name,
        str(setting),
        setting.batch,
        compile_seconds=program.compile_seconds,
        flops=program.flops,
        accessed=program.accessed,
        memory_bytes=memory and memory.total,
        memory_source=memory and PROGRAM_MEMORY,
        **rest,
    )


def run_first(row: Row, program: Program, *values: Any) -> tuple[TimedCall, Any]:
    """Run a program once and read its memory; return a call to time, and its result.

    A device states its peak since the process began. Where this run did not raise it,
    the compiler's figure stays.

    Raises:
      DoesNotFitError: if the device has not enough memory.
    """
    before = peak_memory()
    with explaining_memory(needed=program.memory.need if program.memory else ""):
        result = jax.block_until_ready(program.run(*values))
    after = peak_memory()
    if before is not None and after is not None and after > before:
        row = dataclasses.replace(row, memory_bytes=after, memory_source=DEVICE_MEMORY)
    return TimedCall(row, functools.partial(program.run, *values)), result


class Session:
    """One command: its config and options, and what becomes of its rows.

    Attributes:
      config: the config with its overrides.
      options: how much is measured.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """Read and check the options of a command line.

        Raises:
          ValueError: if one is unusable.
        """
        if args.rounds < 1:
            raise ValueError(f"--rounds: got {args.rounds}, expected 1 or more")
        if args.json is not None:
            inputs = [args.compare] if args.compare else []
            rule = {"inputs": inputs, "overwrite": args.overwrite}
            check_target(args.json, ours=r'^\{\s*"date": ', **rule)
        self.config = load_config(args.config, args.set)
        self.options = BenchmarkOptions(
            rounds=args.rounds,
            seconds=args.seconds,
            compile_only=args.compile_only,
            peak_tflops=args.peak_tflops,
            device=_find_device(args),
        )
        self._json = args.json
        self._earlier = None
        if args.compare is not None:
            self._earlier = record.read_record(args.compare)

    def run(
        self,
        settings: Sequence[Setting],
        measure_setting: Callable[[Setting], list[Row]],
        advice: str,
    ) -> int:
        """Measure and print each setting; 1 if one did not fit into memory, else 0."""
        device = self.options.device
        about = record.describe(record.own_command(), self.config, device)
        print(record.format_headline(about), flush=True)
        rows: list[Row] = []
        too_large: dict[str, str] = {}
        for setting in settings:
            log(str(setting))
            try:
                measured = measure_setting(setting)
            except DoesNotFitError as error:
                too_large[str(setting)] = str(error)
                log(f"error: {setting}: {error}; {advice}")
            else:
                rows += measured
                print(format_rows(measured), format_ratios(measured), sep="\n")
                sys.stdout.flush()
            if self._json is not None:  # each time: the next setting may be cut short
                record.write_record(self._json, about | {"too_large": too_large}, rows)
        report(rows, self._earlier)
        return 1 if too_large else 0


def report(rows: Sequence[Row], earlier: dict[str, Any] | None) -> None:
    """Warn of a busy machine, and print the comparison with an earlier record."""
    for line in busy_rows(rows):
        log(line)
    if earlier is not None:
        print(*record.compare(rows, earlier), sep="\n")


def _find_device(args: argparse.Namespace) -> Any:
    """The device of `--topology`; None where that is not given."""
    if args.topology is None:
        return None
    topology = parse_topology(args.topology)
    if topology.size != 1 or not args.compile_only:
        raise ValueError(
            f"--topology: got {args.topology}, expected one device, such as h200:1 or "
            "v5e:1x1, and --compile-only"
        )
    (device,) = find_devices(topology)
    return device


def all_settings(
    args: argparse.Namespace, config: ConfigDict, *, batch: int, side: int
) -> Iterator[Setting]:
    """All combinations of batches, sizes (px) and dtypes, from options or defaults.

    Raises:
      ValueError: if a text is no list of such values.
    """
    batches = split(args.batch, whole_number("--batch")) or [batch]
    sizes = split(args.size, _size) or [(side, side)]
    dtypes = split(args.dtype, _dtype) or [config.method.dtype]
    for dtype, size, count in itertools.product(dtypes, sizes, batches):
        yield Setting(count, size, dtype)


def split(text: str | None, parse: Callable[[str], _Item]) -> list[_Item]:
    """The items of `a,b,c`; none of None."""
    return [] if text is None else [parse(part) for part in text.split(",")]


def whole_number(option: str, *, least: int = 1) -> Callable[[str], int]:
    """A parser of whole numbers from `least`, 0 or 1, on, for an option."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            such = "1,8" if least else "0,1,2"
            raise ValueError(f"{option}: got {text!r}, expected numbers such as {such}")
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
