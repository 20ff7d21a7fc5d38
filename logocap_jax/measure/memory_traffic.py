"""What a compiled program reads from main memory and writes to it."""

import re
import sys
from collections import defaultdict
from collections.abc import Sequence

from logocap_jax.measure.hlo import Instruction, Module, array_sizes

# Their parts count.
CONTROL = frozenset({"while", "conditional", "call"})

# They do nothing on the device, or their parts do.
FREE = CONTROL | frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast"),
        *("after-all", "opt-barrier", "partition-id", "replica-id"),
    }
)
_SLICES = frozenset({"dynamic-slice", "slice", "gather"})
_FREE_CALL = re.compile('custom_call_target="(ConcatBitcast|AllocateBuffer)"')


def main_memory_bytes(module: Module, *, unknown_trips: int = 1) -> int:
    """Bytes that the instructions of a program move to and from main memory.

    An instruction, which may be a fusion of many, reads its operands and writes its
    results once; of an array that it only takes slices of, it reads those. What lies in
    memory on the core is free. XLA's own count, `bytes accessed`, holds that memory as
    well: several times as much on a TPU.

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
        unknown_trips=unknown_trips, enter=lambda each: each.opcode in CONTROL
    ):
        total += times * _moved(instruction, sizes, module)
    return total


def _moved(instruction: Instruction, sizes: dict[str, int], module: Module) -> int:
    if instruction.opcode in FREE or instruction.opcode.endswith("-start"):
        return 0
    if instruction.opcode == "custom-call" and _FREE_CALL.search(instruction.rest):
        return 0
    if instruction.opcode.endswith("-done"):
        # A copy between both memories, one of which is free.
        return sum(size for size, _ in array_sizes(instruction.shape))
    if instruction.opcode in _SLICES:
        return 2 * sizes[instruction.name]
    slices: dict[int, int] = {}
    if instruction.opcode == "fusion":
        ((name, _),) = instruction.called()
        slices = _slices(module.computations[name], sizes)
    operands = sum(
        min(sizes.get(name, 0), slices.get(position, sys.maxsize))
        for position, name in enumerate(instruction.operands)
    )
    return operands + sizes[instruction.name]


def _slices(fused: Sequence[Instruction], sizes: dict[str, int]) -> dict[int, int]:
    """Bytes of the slices that a fusion takes, by parameter; not of those it reads."""
    users: dict[str, list[Instruction]] = defaultdict(list)
    for each in fused:
        for name in each.operands:
            users[name].append(each)

    def taken(name: str) -> int | None:
        total = 0
        for user in users[name]:
            if user.opcode in _SLICES and user.operands[0] == name:
                size: int | None = sizes[user.name]
            else:
                size = taken(user.name) if user.opcode == "bitcast" else None
            if size is None:
                return None
            total += size
        return total

    parameters = {
        int(each.rest.partition(")")[0]): taken(each.name)
        for each in fused
        if each.opcode == "parameter"
    }
    return {position: n for position, n in parameters.items() if n is not None}


def _main_memory(instruction: Instruction) -> int:
    return sum(size for size, is_main in array_sizes(instruction.shape) if is_main)
