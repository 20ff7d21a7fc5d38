"""How variables lie in a device's memory, so that no call rearranges them."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental.layout import Format, Layout
from jax.sharding import SingleDeviceSharding

# Of a kernel's axes (height, width, input, output) the order in memory.
_OUTPUT_FIRST = Layout(major_to_minor=(3, 0, 1, 2))


def formats(variables: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The order of axes in which a device reads each array.

    cuDNN, which computes convolutions on NVIDIA's GPUs, reads the output channels of a
    kernel one after the other; JAX keeps them side by side, and XLA would transpose all
    kernels in each call. To the program an array is the same either way.

    Args:
      variables: arrays or their shapes.
      device: where they are to be, there or not.

    Returns:
      For each array what `jax.device_put` and `jax.ShapeDtypeStruct` take.
    """
    sharding = SingleDeviceSharding(device)
    kernels = Format(_OUTPUT_FIRST, sharding) if _is_nvidia(device) else sharding
    return jax.tree.map(lambda x: kernels if x.ndim == 4 else sharding, dict(variables))


def _is_nvidia(device: Any) -> bool:
    return "NVIDIA" in device.device_kind
