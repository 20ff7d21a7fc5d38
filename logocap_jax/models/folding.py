"""Variables for inference: batch norm folded, dtype, layout in memory."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental.layout import Format, Layout
from jax.sharding import SingleDeviceSharding

from logocap_jax.models.layers import EPSILON


def prepare_variables(variables: Mapping[str, Any], *, dtype: Any) -> dict[str, Any]:
    """Fold the batch norm, and convert what convolutions and folded norms read.

    They would convert it to `dtype` themselves, all arrays in each call. Results are
    those of `fold_batch_norm`'s variables.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        is_read = (path[-1].key, leaf.ndim) in (("kernel", 4), ("bias", 1))
        return leaf.astype(dtype) if is_read else leaf

    return jax.tree_util.tree_map_with_path(convert, fold_batch_norm(variables))


def fold_batch_norm(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Scale each kernel by the batch norm after it, so that only a bias is left of it.

    `scale * (w * x + b - mean) / sqrt(var + eps) + bias` is a convolution again, whose
    kernel and bias (where it has one) are `w` and `b` times `scale / sqrt(var + eps)`.
    A norm `a_norm` belongs to the convolution `a_conv` beside it. Norms without such a
    convolution stay (as inside an attentive norm, which reads what comes before it).

    Args:
      variables: parameters and batch statistics of any model of this project.

    Returns:
      Variables that the same modules take at test time, with the same results but for
      rounding. Folding once more changes nothing.
    """
    params, stats = _fold(variables["params"], variables["batch_stats"])
    return {**variables, "params": params, "batch_stats": stats}


def _fold(
    params: Mapping[str, Any], stats: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    folded, left = dict(params), {}
    for name, moments in stats.items():
        conv = name.replace("norm", "conv")
        if name in params and "mean" not in moments:
            folded[name], left[name] = _fold(params[name], moments)
        elif name in params and conv in params and conv != name:
            norm = params[name]
            factor = norm["scale"] * jax.lax.rsqrt(moments["var"] + EPSILON)
            folded[conv] = {key: x * factor for key, x in params[conv].items()}
            folded[name] = {"bias": norm["bias"] - moments["mean"] * factor}
        else:
            left[name] = moments
    return folded, left


# Of a kernel's axes (height, width, input, output) the order in memory.
_OUTPUT_FIRST = Layout(major_to_minor=(3, 0, 1, 2))


def formats(variables: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """The order of axes in which a device (there or not) reads each array.

    cuDNN, which computes convolutions on NVIDIA's GPUs, reads the output channels of a
    kernel one after the other; JAX keeps them side by side, and XLA would transpose all
    kernels in each call. To the program an array is the same either way. The results
    are for `jax.device_put` and `jax.ShapeDtypeStruct`.
    """
    sharding = SingleDeviceSharding(device)
    kernels = Format(_OUTPUT_FIRST, sharding) if _is_nvidia(device) else sharding
    return jax.tree.map(lambda x: kernels if x.ndim == 4 else sharding, dict(variables))


def _is_nvidia(device: Any) -> bool:
    return "NVIDIA" in device.device_kind
