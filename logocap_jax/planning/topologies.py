"""Meshes by name, such as `v5e:16x16`: their devices, and what their chips can do."""

import contextlib
import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

# Of a compiler only: ask no metadata server what this machine is, say nothing of that,
# and leave the lock of a TPU that may be here to the program that computes on it.
_LIBTPU_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Chip(NamedTuple):
    """What a chip and its links can do at most.

    Attributes:
      flops: of matrix products, FLOP/s. TPUs multiply float32 arrays in one pass of
        bfloat16 as well, unless JAX is asked for more precision.
      memory: bytes.
      memory_bandwidth: bytes/s.
      link_bandwidth: of all links to other chips together, one way, bytes/s.
      axes: of the torus that the links make.
      largest: number of chips that one slice has at most.
    """

    flops: float
    memory: int
    memory_bandwidth: float
    link_bandwidth: float
    axes: int
    largest: int


# The pages "TPU v5e", "TPU v5p" and "TPU v6e" of Google Cloud's documentation, read in
# November 2026; the bandwidth of links there is that of both ways.
CHIPS: dict[str, Chip] = {
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 400e9 / 2, axes=2, largest=256),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 1200e9 / 2, axes=3, largest=6144),
    "v6e": Chip(918e12, 32 * 2**30, 1638e9, 800e9 / 2, axes=2, largest=256),
}

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
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)


def parse_topology(name: str) -> Topology:
    """Read a name such as `v5e:16x16`, `v5p:4x4x4` or `cpu:8`.

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


def find_devices(topology: Topology) -> Sequence[Any]:
    """The devices of a topology, for compilers only where they are TPUs.

    JAX is kept from looking for other devices, so that this works beside a TPU that is
    in use and never waits for one that is absent.

    Raises:
      ValueError: if libtpu is missing or has no such topology, or JAX has already
        started with fewer CPU devices.
    """
    if topology.chip is None:
        return _cpu_devices(topology.size)
    jax.config.update("jax_platforms", "cpu")
    for name, value in _LIBTPU_SETTINGS.items():
        os.environ.setdefault(name, value)
    # By default a host has 2 x 2 chips.
    bounds = {"chips_per_host_bounds": (1, 1, 1)} if topology.size == 1 else {}
    try:
        return topologies.get_topology_desc(topology.name, "tpu", **bounds).devices
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        if "not installed" in reason:
            reason = "libtpu is missing: pip install 'logocap-jax[tpu-plan]'"
        raise ValueError(f"topology {topology.name}: {reason}") from error


def _cpu_devices(count: int) -> Sequence[jax.Device]:
    jax.config.update("jax_platforms", "cpu")
    # Where JAX has started it may have enough all the same.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise ValueError(
            f"topology cpu:{count}: JAX has started with {len(devices)} CPU devices, "
            "expected that it had not started"
        )
    return devices[:count]
