"""Devices by name, such as `v5e:16x16`, `h200:8` or `cpu:8`, whether present or not."""

import contextlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

# For compiling only: ask no metadata server what this machine is, print nothing about
# that, and leave the lock of a TPU that may be here to the program that computes on it.
_LIBTPU_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

# JAX's words where there is no libtpu, and where no plugin compiles for GPUs.
_MISSING = ("not installed", "topology not implemented")


class Chip(NamedTuple):
    """An accelerator."""

    memory: int  #: bytes
    axes: int  #: number of sides of a topology: of a TPU slice's torus; 1 for GPUs
    largest: int  #: largest number of chips in one slice, or behind one switch
    gpu: str = ""  #: XLA's description, `GpuTargetConfigProto` as text; empty for TPUs


def _make_gpu(
    name: str, memory: int, bandwidth: float, architecture: Mapping[str, int | float]
) -> Chip:
    """A GPU; all sizes in bytes, the bandwidth in bytes/s, `lanes` those of a core."""
    text = """
        platform_name: "CUDA"
        device_description_str: "{name}"
        dnn_version_info {{ major: 9 minor: 8 }}
        gpu_device_info {{
          cuda_compute_capability {{ major: {major} minor: 0 }}
          core_count: {cores}
          fpus_per_core: {lanes}
          clock_rate_ghz: {clock_ghz}
          device_memory_size: {memory}
          memory_bandwidth: {bandwidth:.0f}
          l2_cache_size: {cache}
          shared_memory_per_core: {shared_memory}
          shared_memory_per_block_optin: {block_memory}
          shared_memory_per_block: 49152
          registers_per_core_limit: 65536
          registers_per_block_limit: 65536
          threads_per_warp: 32
          threads_per_block_limit: 1024
          threads_per_core_limit: 2048
          block_dim_limit_x: 2147483647
          block_dim_limit_y: 65535
          block_dim_limit_z: 65535
        }}
    """.format(name=name, memory=memory, bandwidth=bandwidth, **architecture)
    return Chip(memory, axes=1, largest=8, gpu=text)


# TPUs: the pages "TPU v5e", "TPU v5p" and "TPU v6e" of Google Cloud's documentation,
# read in November 2026. GPUs: NVIDIA's data sheets of the SXM modules, the
# architectures' white papers, and "Compute Capabilities" of the guide to CUDA.
_AMPERE = {
    **{"major": 8, "cores": 108, "lanes": 64, "clock_ghz": 1.41, "cache": 40 * 2**20},
    **{"shared_memory": 164 * 2**10, "block_memory": 163 * 2**10},
}
_HOPPER = {
    **{"major": 9, "cores": 132, "lanes": 128, "clock_ghz": 1.98, "cache": 50 * 2**20},
    **{"shared_memory": 228 * 2**10, "block_memory": 227 * 2**10},
}
CHIPS: dict[str, Chip] = {
    "v5e": Chip(16 * 2**30, axes=2, largest=256),
    "v5p": Chip(95 * 2**30, axes=3, largest=6144),
    "v6e": Chip(32 * 2**30, axes=2, largest=256),
    "a100": _make_gpu("NVIDIA A100-SXM4-80GB", 80 * 10**9, 2.039e12, _AMPERE),
    "h100": _make_gpu("NVIDIA H100 80GB HBM3", 80 * 10**9, 3.35e12, _HOPPER),
    "h200": _make_gpu("NVIDIA H200", 141 * 10**9, 4.8e12, _HOPPER),
}


class Topology(NamedTuple):
    """Devices to plan for."""

    name: str  #: as given, such as `v5e:16x16`
    shape: tuple[int, ...]  #: chips along each axis
    chip: Chip | None  #: None for CPUs, which differ too much

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)


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
    chip = topology.chip
    axes, largest = (chip.axes, chip.largest) if chip else (1, 1024)
    if len(topology.shape) != axes or topology.size > largest:
        raise ValueError(
            f"got topology {name!r}, expected {axes} sides and at most {largest} "
            f"devices for {kind}"
        )
    return topology


def find_devices(topology: Topology) -> Sequence[Any]:
    """The devices of a topology; all but CPUs can only be compiled for.

    JAX is kept from looking for others: so this works beside a TPU or GPU in use, and
    never waits for one that is absent.

    Raises:
      ValueError: if the compiler is missing or has no such topology, or JAX has already
        started with fewer CPU devices.
    """
    jax.config.update("jax_platforms", "cpu")
    chip = topology.chip
    if chip is None:
        return _cpu_devices(topology.size)
    try:
        return _gpu_devices(topology, chip) if chip.gpu else _tpu_devices(topology)
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        if any(words in reason for words in _MISSING):
            extra = "cuda" if chip.gpu else "tpu-plan"
            reason = f"its compiler is missing: pip install 'logocap-jax[{extra}]'"
        raise ValueError(f"topology {topology.name}: {reason}") from error


def _tpu_devices(topology: Topology) -> Sequence[Any]:
    for name, value in _LIBTPU_SETTINGS.items():
        os.environ.setdefault(name, value)
    # By default a host has 2 x 2 chips.
    bounds = {"chips_per_host_bounds": (1, 1, 1)} if topology.size == 1 else {}
    return topologies.get_topology_desc(topology.name, "tpu", **bounds).devices


def _gpu_devices(topology: Topology, chip: Chip) -> Sequence[Any]:
    jax.devices()  # else "gpu", which JAX calls them, is no platform (jax#23971)
    return topologies.get_topology_desc(
        topology.name,
        "cuda",
        topology=f"1x1x{topology.size}",  # partitions, hosts, devices
        target_config=chip.gpu,
    ).devices


def _cpu_devices(count: int) -> Sequence[jax.Device]:
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
