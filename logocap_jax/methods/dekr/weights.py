"""PyTorch checkpoints of DEKR: the published ones, and mmpose's."""

import re
from collections.abc import Iterator

import numpy as np

from logocap_jax.methods import scorer_weights
from logocap_jax.methods.dekr.mmpose import from_mmpose
from logocap_jax.methods.dekr.public_weights import PUBLIC
from logocap_jax.methods.dense_weights import selector_settings
from logocap_jax.torch_rows import (
    BIASED_CONV,
    CONV,
    KERNEL,
    NORM,
    SAME,
    Constant,
    Leaf,
    Row,
    Settings,
    Shapes,
    StateDict,
    WeightFormat,
    conv_norm,
    hrnet_rows,
    hrnet_settings,
    num_outputs,
)

_HEATMAPS = "params/dense/heatmap_head"
_UNIT = "params/dense/offset_head/unit0/conv/kernel"

# PyTorch keeps each keypoint's branch in arrays of its own, here they are one:
# `offset_feature_layers.KEYPOINT.UNIT.` is `offset_units.UNIT.`, channels concatenated.
_BRANCHES = (
    (re.compile(r"offset_feature_layers\.(\d+)\.(\d+)\.(.+)"), r"offset_units.{1}.{2}"),
    (re.compile(r"offset_final_layer\.(\d+)\.(weight|bias)"), r"offset_final.{1}"),
)
_MERGED = (
    (re.compile(r"offset_units\.(\d+)\.(.+)"), r"offset_feature_layers.{k}.{0}.{1}"),
    (re.compile(r"offset_final\.(weight|bias)"), r"offset_final_layer.{k}.{0}"),
)
# Outputs of each branch.
_OUTPUTS = {"offset_final.bias": 2, "offset_units.0.transform_matrix_conv.bias": 4}
# Arrays of which each branch has an equal copy.
_COPIES = ("regular_matrix", "num_batches_tracked")

_GRID = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij")).reshape(2, 9)


def _merge(state: StateDict) -> StateDict:
    """Concatenate the arrays of all branches, in the order of the keypoints."""
    state = from_mmpose(state)
    merged, branches = dict(state), dict[str, dict[int, str]]()
    for key in state:
        for pattern, template in _BRANCHES:
            if match := pattern.fullmatch(key):
                name = template.format(*match.groups())
                branches.setdefault(name, {})[int(match[1])] = key
    for name, keys in branches.items():
        arrays = [state[key] for _, key in sorted(keys.items())]
        if sorted(keys) == [*range(len(keys))] and _can_join(name, arrays):
            copies = name.endswith(_COPIES)
            merged[name] = arrays[0] if copies else np.concatenate(arrays)
            for key in keys.values():
                del merged[key]
    return merged


def _can_join(name: str, arrays: list[np.ndarray]) -> bool:
    if name.endswith(_COPIES):
        return all(np.array_equal(array, arrays[0]) for array in arrays)
    return arrays[0].ndim > 0 and len({array.shape for array in arrays}) == 1


def _split(state: StateDict) -> StateDict:
    """Undo `_merge`; without a branch's outputs the number of branches is unknown."""
    counts = [len(state[key]) // n for key, n in _OUTPUTS.items() if key in state]
    split: StateDict = {}
    for key, array in state.items():
        matches = [(pattern.fullmatch(key), text) for pattern, text in _MERGED]
        found = [(match, text) for match, text in matches if match and counts]
        if not found:
            split[key] = array
            continue
        (match, text), count = found[0], counts[0]
        copies = key.endswith(_COPIES)
        arrays = [array] * count if copies else np.split(array, count)
        for k, part in enumerate(arrays):
            split[text.format(*match.groups(), k=k)] = part
    return split


def _unit_leaves() -> Iterator[Leaf]:
    """The arrays of an adaptive unit."""
    grid = Constant("regular_matrix", _GRID.astype(np.float32))
    yield Leaf("adapt_conv.weight", "params", "conv/kernel", KERNEL, (grid,))
    for torch, ours in (
        ("transform_matrix_conv", "transform"),
        ("translation_conv", "shift"),
    ):
        yield Leaf(f"{torch}.weight", "params", f"{ours}/kernel", KERNEL)
        yield Leaf(f"{torch}.bias", "params", f"{ours}/bias", SAME)
    for leaf in NORM:
        constants = (
            constant._replace(name=f"bn.{constant.name}") for constant in leaf.constants
        )
        yield leaf._replace(
            torch=f"bn.{leaf.torch}",
            path=f"norm/{leaf.path}",
            constants=tuple(constants),
        )


_ROWS = (
    *hrnet_rows("", "dense/backbone"),
    *conv_norm("transition_heatmap", "dense/heatmap_head/input"),
    Row("head_heatmap.0.0.conv{n}", "dense/heatmap_head/block/conv{n}", CONV),
    Row("head_heatmap.0.0.bn{n}", "dense/heatmap_head/block/norm{n}", NORM),
    Row("head_heatmap.1", "dense/heatmap_head/output", BIASED_CONV),
    *conv_norm("transition_offset", "dense/offset_head/input"),
    Row("offset_units.{u}", "dense/offset_head/unit{u}", tuple(_unit_leaves())),
    Row("offset_final", "dense/offset_head/output", BIASED_CONV),
    *conv_norm("transition_sel", "dense/selector_head"),  # of this project only
    Row("final_layer_sel", "dense/selector_head/output", BIASED_CONV),
    *scorer_weights.ROWS,
)


def _recognise(shapes: Shapes) -> Settings | None:
    if _UNIT not in shapes or f"{_HEATMAPS}/input/conv/kernel" not in shapes:
        return None
    count = num_outputs(shapes, f"{_HEATMAPS}/output") - 1
    return {
        "backbone": hrnet_settings(shapes, "dense/backbone"),
        "heatmap_hidden": num_outputs(shapes, f"{_HEATMAPS}/input/conv"),
        "keypoint_channels": shapes[_UNIT][2],
        "num_keypoints": count,
        **selector_settings(shapes),
        **scorer_weights.scorer_settings(shapes, count),
    }


FORMAT = WeightFormat(
    _ROWS,
    _recognise,
    merge=_merge,
    split=_split,
    files=scorer_weights.FILES,
    public=PUBLIC,
)
