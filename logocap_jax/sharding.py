"""The device mesh: the only place that knows how many devices there are."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA_AXIS = "data"


def make_mesh() -> Mesh:
    """All devices of all processes along one axis, `data`."""
    return Mesh(np.asarray(jax.devices()), (DATA_AXIS,))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Split the first axis over the mesh."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(batch_size: int, mesh: Mesh, *, name: str) -> None:
    """Check that a global batch splits evenly.

    Raises:
      ValueError: if the devices of the mesh do not divide the batch.
    """
    devices = mesh.devices.size
    if batch_size <= 0 or batch_size % devices:
        near = max(round(batch_size / devices), 1) * devices
        raise ValueError(
            f"got {name}={batch_size}, which {devices} devices do not divide; "
            f"try {near}"
        )


def put_batch(arrays: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
    """Bring this process's share of a batch to its devices, as global arrays.

    Args:
      arrays: by name, possibly nested; batch axis first.
      mesh: devices.
    """
    put = functools.partial(
        jax.make_array_from_process_local_data, batch_sharding(mesh)
    )
    return jax.tree.map(put, dict(arrays))


def local_rows(array: jax.Array) -> np.ndarray:
    """This process's share of an array that is split like a batch."""
    shards = {shard.index[0].start or 0: shard for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[row].data) for row in sorted(shards)])
