"""Variables for inference: batch norm folded, in the dtype of the arithmetic."""

from collections.abc import Mapping
from typing import Any

import jax

from logocap_jax.models.layers import EPSILON


def prepare_variables(variables: Mapping[str, Any], *, dtype: Any) -> dict[str, Any]:
    """Fold the batch norm, and convert what convolutions and folded norms read.

    They would convert it themselves, all arrays in each call.

    Args:
      variables: as for `fold_batch_norm`.
      dtype: that the networks compute in.

    Returns:
      As `fold_batch_norm`; the results are those of its variables.
    """

    def convert(path: tuple[Any, ...], leaf: Any) -> Any:
        is_read = (path[-1].key, leaf.ndim) in (("kernel", 4), ("bias", 1))
        return leaf.astype(dtype) if is_read else leaf

    return jax.tree_util.tree_map_with_path(convert, fold_batch_norm(variables))


def fold_batch_norm(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Scale each kernel by the batch norm after it, so that only a bias is left of it.

    `scale * (w * x - mean) / sqrt(var + eps) + bias` is a convolution again, with the
    kernel `w * scale / sqrt(var + eps)`. A norm `a_norm` belongs to the convolution
    `a_conv` beside it. Norms without an affine part (inside an attentive norm, which
    reads what comes before it) stay.

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
    for name, own in stats.items():
        if name not in params:
            left[name] = own
        elif "mean" not in own:
            folded[name], left[name] = _fold(params[name], own)
        else:
            norm, conv = params[name], name.replace("norm", "conv")
            factor = norm["scale"] * jax.lax.rsqrt(own["var"] + EPSILON)
            folded[conv] = {**params[conv], "kernel": params[conv]["kernel"] * factor}
            folded[name] = {"bias": norm["bias"] - own["mean"] * factor}
    return folded, left
