"""The devices of a topology, there or not, for the compiler."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from logocap_jax.measure.chips import CHIPS
from logocap_jax.measure.gpus import GPUS, describe_gpu
from logocap_jax.measure.topologies import Topology

# Of a compiler only: ask no metadata server what this machine is, say nothing of that,
# and leave the lock of a TPU that may be here to the program that computes on it.
_LIBTPU_SETTINGS = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

# What JAX says where there is no libtpu, and where no plugin compiles for GPUs.
_MISSING = ("not installed", "topology not implemented")


def find_devices(topology: Topology) -> Sequence[Any]:
    """The devices of a topology, for compilers only where they are no CPUs.

    JAX is kept from looking for other devices, so that this works beside a TPU or GPU
    that is in use and never waits for one that is absent.

    Raises:
      ValueError: if the compiler is missing or has no such topology, or JAX has already
        started with fewer CPU devices.
    """
    if topology.chip is None:
        return _cpu_devices(topology.size)
    jax.config.update("jax_platforms", "cpu")
    find = _gpu_devices if topology.kind in GPUS else _tpu_devices
    try:
        return find(topology)
    except (RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        if any(words in reason for words in _MISSING):
            extra = "cuda" if topology.kind in GPUS else "tpu-plan"
            reason = f"its compiler is missing: pip install 'logocap-jax[{extra}]'"
        raise ValueError(f"topology {topology.name}: {reason}") from error


def _tpu_devices(topology: Topology) -> Sequence[Any]:
    for name, value in _LIBTPU_SETTINGS.items():
        os.environ.setdefault(name, value)
    # By default a host has 2 x 2 chips.
    bounds = {"chips_per_host_bounds": (1, 1, 1)} if topology.size == 1 else {}
    return topologies.get_topology_desc(topology.name, "tpu", **bounds).devices


def _gpu_devices(topology: Topology) -> Sequence[Any]:
    chip = CHIPS[topology.kind]
    jax.devices()  # else "gpu", which JAX calls them, is no platform (jax#23971)
    return topologies.get_topology_desc(
        topology.name,
        "cuda",
        topology=f"1x1x{topology.size}",  # partitions, hosts, devices
        target_config=describe_gpu(
            GPUS[topology.kind],
            memory=chip.memory,
            bandwidth=chip.peak.bandwidth,
        ),
    ).devices


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
