"""The instructions of a compiled program, read from the text of its HLO."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r'\s+(?:ROOT )?%?(?P<name>[^\s=]+) = (?P<shape>[^"%]*?) (?P<opcode>[a-z][\w\-]*)\('
)
_ARRAY = re.compile(
    r"\b[a-z]+(?P<width>\d*)[a-z0-9]*\[(?P<sides>[\d,<=]*)\](?P<layout>\{[^{}]*\})?"
)
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|branch_computations|true_computation|false_computation"
    r"|(?P<loop>body|condition))=\{?(?P<names>%[^\s,}]+(?:, ?%[^\s,}]+)*)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="([^"]*)"')


class Instruction(NamedTuple):
    """One line of HLO.

    Attributes:
      name: of its result.
      shape: of its result, as HLO writes it.
      opcode: what it does.
      rest: operands and attributes.
    """

    name: str
    shape: str
    opcode: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Names of the instructions whose results it takes."""
        return _OPERAND.findall(self.rest.partition(")")[0])

    @property
    def op_name(self) -> str:
        """What JAX traced it from; of a combined instruction, one of several."""
        found = _OP_NAME.search(self.rest)
        return found[1] if found else ""

    def called(self) -> Iterator[tuple[str, int | None]]:
        """Computations that it runs, and how often; None where that is not known."""
        if self.opcode in ("async-update", "async-done"):
            return  # name what their start has run
        for found in _CALLED.finditer(self.rest):
            times: int | None = 1
            if found["loop"]:
                trips = _TRIPS.search(self.rest)
                times = int(trips[1]) if trips else None
            for name in found["names"].split(","):
                yield name.strip(" %"), times


class Module(NamedTuple):
    """A program.

    Attributes:
      computations: instructions by computation.
      entry: the computation that the program begins with.
    """

    computations: dict[str, list[Instruction]]
    entry: str

    def walk(
        self,
        *,
        unknown_trips: int = 1,
        enter: Callable[[Instruction], bool] = lambda _: True,
    ) -> Iterator[tuple[Instruction, int]]:
        """All instructions that run, with how often they do.

        Those in each branch of a conditional count as if it were taken.

        Args:
          unknown_trips: how often loops run of which the compiler does not tell.
          enter: whether to go into the computations that an instruction runs.
        """

        def visit(name: str, times: int) -> Iterator[tuple[Instruction, int]]:
            for instruction in self.computations[name]:
                yield instruction, times
                if enter(instruction):
                    for callee, trips in instruction.called():
                        repeats = unknown_trips if trips is None else trips
                        yield from visit(callee, times * repeats)

        return visit(self.entry, 1)


def parse_hlo(text: str) -> Module:
    """Read an HLO module, such as `jax.stages.Compiled.as_text()`.

    Raises:
      ValueError: if the text has no entry computation.
    """
    computations: dict[str, list[Instruction]] = {}
    entry, current = None, []
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations[found["name"]] = []
            entry = found["name"] if found["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            name, shape, opcode = found.groups()
            current.append(Instruction(name, shape, opcode, line[found.end() :]))
    if entry is None:
        raise ValueError("got HLO without an ENTRY computation, expected a module")
    return Module(computations, entry)


def array_sizes(shape: str) -> Iterator[tuple[int, bool]]:
    """Bytes of the arrays of a shape, and whether each is in main memory.

    A TPU's compiler keeps some in memory on the core: `S(1)` in their layout.
    """
    for found in _ARRAY.finditer(shape):
        bits = int(found["width"] or 8)  # pred has no width, and takes a byte
        for side in re.findall(r"\d+", found["sides"]):
            bits *= int(side)
        yield -(-bits // 8), "S(" not in (found["layout"] or "")
