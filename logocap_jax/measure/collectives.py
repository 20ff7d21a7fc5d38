"""The collectives of a compiled program: what its devices tell each other."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from logocap_jax.measure.hlo import Module, array_sizes

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)


class Collective(NamedTuple):
    """One collective instruction.

    Attributes:
      kind: one of `KINDS`.
      size: bytes of its result on a device, each time.
      times: how often it runs in a call of the program.
      op_name: what JAX traced it from; where XLA has combined several, one of them.
    """

    kind: str
    size: int
    times: int
    op_name: str


class Traffic(NamedTuple):
    """What the collectives of a kind come to, per device and call.

    Attributes:
      number: how many run.
      size: bytes of their results.
    """

    number: int
    size: int


def find_collectives(module: Module, *, unknown_trips: int = 1) -> list[Collective]:
    """The collectives of a compiled program, with those in loops and fusions.

    Args:
      module: the optimised program.
      unknown_trips: how often loops run of which the compiler does not tell.
    """
    # An asynchronous one is counted at its end, whose shape is that of the result.
    kinds = {kind + end: kind for kind in KINDS for end in ("", "-done")}
    return [
        Collective(
            kinds[instruction.opcode],
            sum(size for size, _ in array_sizes(instruction.shape)),
            times,
            instruction.op_name,
        )
        for instruction, times in module.walk(unknown_trips=unknown_trips)
        if instruction.opcode in kinds
    ]


def sum_by_kind(collectives: Iterable[Collective]) -> dict[str, Traffic]:
    """The traffic of every kind, also of those that are absent."""
    total = dict.fromkeys(KINDS, Traffic(0, 0))
    for kind, size, times, _ in collectives:
        number, sum_ = total[kind]
        total[kind] = Traffic(number + times, sum_ + times * size)
    return total


def growing_kinds(
    small: Iterable[Collective], large: Iterable[Collective], *, tolerance: float = 0.01
) -> dict[str, str]:
    """The kinds that move more for a larger batch, which is a sharding fault.

    Data parallelism moves sums over the batch: as large for any batch.

    Args:
      small: collectives of the step for some batch.
      large: those for a larger one.
      tolerance: growth to pass over, of the smaller traffic.

    Returns:
      By kind, the `op_name` of the collectives that grew most.
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
