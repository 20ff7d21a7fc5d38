"""The arrays of the method's cases, beside those that pose maps have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from logocap_jax.parity.layout import Arrays, Entry, Layout, channels_last
from logocap_jax.parity.pose_map_cases import map_last

# Arrays of an adaptive block: the reference's, and channels.
_BLOCK = {"T1": "4", "unit1": "D", "T2": "4", "unit2": "D"}
_BLOCKS = ("heat0", "heat1", "heat2", "reg")

# Stages' arrays that `block_arrays` reads.
DENSE = (
    *("branch_maps", "center_maps", "offsets_raw", "fine_raw"),
    *("heatmap_input", "offset_input"),
)


def _branches_last(array: np.ndarray) -> np.ndarray:
    """`[R, blocks, K, h, w]` -> `[R, h, w, blocks, K]`."""
    return np.moveaxis(array, (1, 2), (-2, -1))


LAYOUT: Layout = {
    "cls_in": Entry("C h w", map_last),
    "reg_in": Entry("D h w", map_last),
    **{
        f"{block}_{name}": Entry(
            f"{channels.replace('D', 'D' if block == 'reg' else 'C')} h w", map_last
        )
        for block in _BLOCKS
        for name, channels in _BLOCK.items()
    },
    "branch_maps_raw": Entry("R blocks K h w", _branches_last),
    "regression_raw": Entry("R outputs h w", channels_last),
    "maps_2x_raw": Entry("R K h2 w2", channels_last),
    "poses_nms": Entry("f K 3", required=True),
    "nms_center_scores": Entry("f", required=True),
    "poses_nms_regression_only": Entry("f K 3"),
    "candidates_xy": Entry("K c 2"),
    "candidates_value": Entry("K c"),
    "poses_absorbed": Entry("f K 3", required=True),
    "absorbed_tied": Entry("f K"),
    "poses_adjusted": Entry("f K 3", required=True),
    **{
        f"{name}_{array}": Entry(axes)
        for name in ("final", "regression")
        for array, axes in (
            ("keypoints", "f K 3"),
            ("scores_before", "f"),
            ("scores", "f"),
        )
    },
    **{
        f"{array}{suffix}": Entry(axes)
        for suffix in ("", "_regression")
        for array, axes in (("rescore_feature", "f F"), ("predicted_oks", "f"))
    },
}


def fine_layout() -> Layout:
    """What differs where there are heatmaps at stride 2: two mirror images."""
    return {"input_mirror_right_edge": Entry("2 3 H E", channels_last)}


def block_arrays(found: Mapping[str, Any]) -> Arrays:
    """Our arrays of the network under the reference's names, `[R, h, w, ...]`.

    `R`: image and mirror image; of heatmaps at stride 2 the one moved by 1 px.
    """
    arrays = {
        name: np.asarray(found[name]) for name in DENSE if found[name] is not None
    }
    offsets = arrays["offsets_raw"]
    offsets = offsets.reshape(*offsets.shape[:3], -1)
    result = {
        "cls_in": arrays["heatmap_input"],
        "reg_in": arrays["offset_input"],
        "branch_maps_raw": arrays["branch_maps"],
        "regression_raw": np.concatenate([offsets, arrays["center_maps"]], axis=-1),
    }
    if "fine_raw" in arrays:
        result["maps_2x_raw"] = arrays["fine_raw"][::2]
    blocks = (*found["heatmap_blocks"], found["offset_block"])
    for name, block in zip(_BLOCKS, blocks, strict=True):
        for number, transform in enumerate(block.transforms, start=1):
            matrices = np.asarray(transform)
            result[f"{name}_T{number}"] = matrices.reshape(*matrices.shape[:3], 4)
        result[f"{name}_unit1"] = np.asarray(block.middle)
        result[f"{name}_unit2"] = np.asarray(block.output)
    return result
