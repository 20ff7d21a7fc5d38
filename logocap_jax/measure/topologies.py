"""Meshes by name, such as `v5e:16x16`, `h200:8` or `cpu:8`."""

import math
import re
from typing import NamedTuple

from logocap_jax.measure.chips import CHIPS, Chip
from logocap_jax.measure.gpus import GPUS

# How long a message takes to the next chip, seconds: the order of magnitude given in
# "How to Scale Your Model" (Austin et al., 2025).
HOP_SECONDS = 1e-6


class Topology(NamedTuple):
    """Devices to plan for.

    Attributes:
      name: as it was given, such as `v5e:16x16`.
      shape: chips along each axis.
      chip: what one of them can do; None for CPUs, which differ too much.
    """

    name: str
    shape: tuple[int, ...]
    chip: Chip | None

    @property
    def kind(self) -> str:
        """Of the devices: a key of `CHIPS`, or `cpu`."""
        return self.name.partition(":")[0]

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)

    @property
    def diameter(self) -> int:
        """Links between the two chips that are farthest from each other."""
        if self.kind in GPUS:
            return min(self.size - 1, 1)
        return sum(side // 2 for side in self.shape)


def parse_topology(name: str) -> Topology:
    """Read a name such as `v5e:16x16`, `v5p:4x4x4`, `h200:8` or `cpu:8`.

    Raises:
      ValueError: if there is no such topology.
    """
    kind, _, sides = name.partition(":")
    known = ", ".join(f"{kind}:{'x'.join('2' * c.axes)}" for kind, c in CHIPS.items())
    if kind not in (*CHIPS, "cpu") or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sides):
        raise ValueError(f"got topology {name!r}, expected such as cpu:8, {known}")
    topology = Topology(name, tuple(map(int, sides.split("x"))), CHIPS.get(kind))
    axes, largest = (1, 1024) if topology.chip is None else topology.chip[-2:]
    if len(topology.shape) != axes or topology.size > largest:
        raise ValueError(
            f"got topology {name!r}, expected {axes} sides and at most {largest} "
            f"devices for {kind}"
        )
    return topology
