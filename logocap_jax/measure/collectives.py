"""The collectives of a compiled program, read from the text of its HLO."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

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
