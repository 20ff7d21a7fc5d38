"""Compiled programs: compile time, memory, operations and collectives."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
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


KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)

_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r'\s+(?:ROOT )?%?[^\s=]+ = (?P<shape>[^"%]*?) (?P<opcode>[a-z][\w\-]*)\('
)
_ARRAY = re.compile(r"\b[a-z]+(?P<width>\d*)[a-z0-9]*\[(?P<sides>[\d,<=]*)\]")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|branch_computations|true_computation|false_computation"
    r"|(?P<loop>body|condition))=\{?(?P<names>%[^\s,}]+(?:, ?%[^\s,}]+)*)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One collective instruction."""

    kind: str  #: one of `KINDS`
    size: int  #: bytes of its result on a device, each time
    times: int  #: runs per call of the program
    #: The operation that JAX traced it from; where XLA has combined several, one of
    #: them.
    op_name: str


class Traffic(NamedTuple):
    """The collectives of one kind, per device and call."""

    number: int  #: runs
    size: int  #: bytes of their results


class _Instruction(NamedTuple):
    """One line of HLO: shape of the result, operation, operands and attributes."""

    shape: str
    opcode: str
    rest: str

    def called(self, unknown_trips: int) -> Iterator[tuple[str, int]]:
        """Computations that it runs, and how often."""
        if self.opcode in ("async-update", "async-done"):
            return  # their start has run it
        trips = _TRIPS.search(self.rest)
        rounds = int(trips[1]) if trips else unknown_trips
        for found in _CALLED.finditer(self.rest):
            for name in found["names"].split(","):
                yield name.strip(" %"), rounds if found["loop"] else 1


def find_collectives(hlo: str, *, unknown_trips: int = 1) -> list[Collective]:
    """The collectives of an optimised module's HLO, also those in loops and fusions.

    Both branches of a conditional count; loops for which the compiler states no number
    of rounds count `unknown_trips` times.

    Raises:
      ValueError: if the text has no entry computation.
    """
    computations, entry = _parse(hlo)
    # An asynchronous one is counted at its end, whose shape is that of the result.
    kinds = {kind + end: kind for kind in KINDS for end in ("", "-done")}

    def visit(name: str, times: int) -> Iterator[Collective]:
        for instruction in computations[name]:
            if kind := kinds.get(instruction.opcode):
                found = _OP_NAME.search(instruction.rest)
                op_name = found[1] if found else ""
                yield Collective(kind, array_bytes(instruction.shape), times, op_name)
            for callee, rounds in instruction.called(unknown_trips):
                yield from visit(callee, times * rounds)

    return list(visit(entry, 1))


def _parse(hlo: str) -> tuple[Mapping[str, list[_Instruction]], str]:
    """Instructions by computation, and the name of the entry."""
    computations: dict[str, list[_Instruction]] = {}
    entry, current = None, []
    for line in hlo.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations[found["name"]] = []
            entry = found["name"] if found["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            rest = line[found.end() :]
            current.append(_Instruction(found["shape"], found["opcode"], rest))
    if entry is None:
        raise ValueError("got HLO without an ENTRY computation, expected a module")
    return computations, entry


def array_bytes(shape: str) -> int:
    """Bytes of all arrays of an HLO shape, which may be a tuple."""
    total = 0
    for found in _ARRAY.finditer(shape):
        bits = int(found["width"] or 8)  # pred has no width, and takes a byte
        for side in re.findall(r"\d+", found["sides"]):
            bits *= int(side)
        total += -(-bits // 8)
    return total


def sum_by_kind(collectives: Iterable[Collective]) -> dict[str, Traffic]:
    """The traffic of every kind, 0 for those that are absent."""
    total = dict.fromkeys(KINDS, Traffic(0, 0))
    for kind, size, times, _ in collectives:
        number, sum_ = total[kind]
        total[kind] = Traffic(number + times, sum_ + times * size)
    return total


def growing_kinds(
    small: Iterable[Collective], large: Iterable[Collective], *, tolerance: float = 0.01
) -> dict[str, str]:
    """The kinds that send more for a larger batch, a sharding fault, and an `op_name`.

    Data parallelism sends sums over the batch, of the same size for any batch. Relative
    growth up to `tolerance` is ignored; the `op_name` is that of the collectives that
    grew most.
    """
    small, large = list(small), list(large)
    before, after = sum_by_kind(small), sum_by_kind(large)
    growth: dict[str, defaultdict[str, int]] = {
        kind: defaultdict(int)
        for kind in KINDS
        if after[kind].size > (1 + tolerance) * before[kind].size
    }
    for sign, side in ((-1, small), (1, large)):
        for kind, size, times, op_name in side:
            if kind in growth:
                growth[kind][op_name] += sign * size * times
    return {kind: max(names, key=names.__getitem__) for kind, names in growth.items()}
