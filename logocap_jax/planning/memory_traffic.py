"""What a compiled program reads from main memory and writes to it."""

import re

from logocap_jax.planning.hlo import Instruction, Module, array_sizes

_CONTROL = frozenset({"while", "conditional", "call"})

# They move nothing, or their parts count.
_FREE = _CONTROL | frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
        *("after-all", "opt-barrier", "partition-id", "replica-id"),
    }
)
_FREE_CALL = re.compile('custom_call_target="(ConcatBitcast|AllocateBuffer)"')


def main_memory_bytes(module: Module, *, unknown_trips: int = 1) -> int:
    """Bytes that the instructions of a program move to and from main memory.

    An instruction, which may be a fusion of many, reads its operands and writes its
    results once; what lies in memory on the core is free. XLA's own count,
    `bytes accessed`, holds that memory as well: several times as much on a TPU.

    Args:
      module: the optimised program.
      unknown_trips: how often loops run of which the compiler does not tell.
    """
    sizes = {
        instruction.name: _main_memory(instruction)
        for instructions in module.computations.values()
        for instruction in instructions
    }
    total = 0
    for instruction, times in module.walk(
        unknown_trips=unknown_trips, enter=lambda each: each.opcode in _CONTROL
    ):
        total += times * _moved(instruction, sizes)
    return total


def _moved(instruction: Instruction, sizes: dict[str, int]) -> int:
    if instruction.opcode in _FREE or instruction.opcode.endswith("-start"):
        return 0
    if instruction.opcode == "custom-call" and _FREE_CALL.search(instruction.rest):
        return 0
    if instruction.opcode.endswith("-done"):
        # A copy between both memories, one of which is free.
        return sum(size for size, _ in array_sizes(instruction.shape))
    operands = sum(sizes.get(name, 0) for name in instruction.operands)
    return operands + sizes[instruction.name]


def _main_memory(instruction: Instruction) -> int:
    return sum(size for size, is_main in array_sizes(instruction.shape) if is_main)
