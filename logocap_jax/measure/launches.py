"""How many pieces of work a compiled program hands to its device."""

from logocap_jax.measure.hlo import Module
from logocap_jax.measure.memory_traffic import CONTROL, FREE


def count_launches(module: Module, *, unknown_trips: int = 1) -> int:
    """Instructions that are not fused into others: on a GPU a kernel each, or nearly.

    Args:
      module: the optimised program.
      unknown_trips: how often loops run of which the compiler does not tell.
    """
    return sum(
        times
        for instruction, times in module.walk(
            unknown_trips=unknown_trips, enter=lambda each: each.opcode in CONTROL
        )
        if instruction.opcode not in FREE
    )
