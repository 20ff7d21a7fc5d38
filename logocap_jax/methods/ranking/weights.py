"""PyTorch checkpoints of the method: the published ones."""

import re

import numpy as np

from logocap_jax.methods import scorer_weights
from logocap_jax.torch_rows import (
    BIASED_CONV,
    CONV,
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
    fine_rows,
    hrnet_rows,
    hrnet_settings,
    num_outputs,
)

_HEATMAPS, _OFFSETS, _FINE = (
    f"params/dense/{name}_head" for name in ("heatmap", "offset", "fine")
)

# Blocks side by side share these; PyTorch lists each once for every block.
_SHARED = re.compile(
    r"(multi_level_layers_4x_(?:heatmap|regression))\.(\d+)\.0"
    r"\.((?:stn|transform_matrix)_conv[12]\.weight)"
)
_MERGED = re.compile(r"(multi_level_layers_4x_\w+)\.shared\.(.+)")


def _merge(state: StateDict) -> StateDict:
    """Keep one of equal arrays of blocks side by side."""
    merged, found = dict(state), dict[str, list[str]]()
    for key in state:
        if match := _SHARED.fullmatch(key):
            found.setdefault(f"{match[1]}.shared.{match[3]}", []).append(key)
    for name, keys in found.items():
        if all(np.array_equal(state[key], state[keys[0]]) for key in keys):
            merged[name] = state[keys[0]]
            for key in keys:
                del merged[key]
    return merged


def _split(state: StateDict) -> StateDict:
    """Undo `_merge`; the blocks' norms tell how many there are."""
    split: StateDict = {}
    for key, array in state.items():
        match = _MERGED.fullmatch(key)
        blocks = _blocks(state, match[1]) if match else []
        if match and blocks:
            split |= {f"{match[1]}.{i}.0.{match[2]}": array for i in blocks}
        else:
            split[key] = array
    return split


def _blocks(state: StateDict, head: str) -> list[str]:
    matches = (re.fullmatch(rf"{head}\.(\d+)\.0\.bn1\.weight", key) for key in state)
    return [match[1] for match in matches if match]


# Taps (y, x), row by row.
_GRID = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij")).reshape(2, 9)


def _norm(n: int) -> tuple[Leaf, ...]:
    return tuple(
        leaf._replace(
            torch=f"bn{n}.{leaf.torch}",
            path=f"norm{n}/{leaf.path}",
            constants=tuple(
                constant._replace(name=f"bn{n}.{constant.name}")
                for constant in leaf.constants
            ),
        )
        for leaf in NORM
    )


def _bias(n: int) -> Leaf:
    grid = Constant("regular_matrix", _GRID.astype(np.float32))
    name, path = f"transform_matrix_conv{n}.bias", f"transform{n}/bias"
    return Leaf(name, "params", path, SAME, (grid,) if n == 1 else ())


def _block_rows(torch: str, path: str) -> tuple[Row, ...]:
    """Adaptive blocks side by side."""
    own = (_bias(1), _bias(2), *_norm(1), *_norm(2))
    return (
        Row(f"{torch}.{{b}}.0", f"{path}/branch{{b}}", own),
        Row(
            f"{torch}.shared.transform_matrix_conv{{n}}", f"{path}/transform{{n}}", CONV
        ),
        Row(f"{torch}.shared.stn_conv{{n}}", f"{path}/conv{{n}}", CONV),
    )


_ROWS = (
    *hrnet_rows("", "dense/backbone"),
    *conv_norm("transition_cls", "dense/heatmap_head/input"),
    *_block_rows("multi_level_layers_4x_heatmap", "dense/heatmap_head/block"),
    Row("final_layers.0", "dense/heatmap_head/output", BIASED_CONV),
    *conv_norm("transition_reg", "dense/offset_head/input"),
    *_block_rows("multi_level_layers_4x_regression", "dense/offset_head/block"),
    Row("final_layers.1", "dense/offset_head/output", BIASED_CONV),
    *fine_rows("deconv_layers.0", "dense/fine_head"),
    Row("final_layers.2", "dense/fine_head/output", BIASED_CONV),
    *scorer_weights.ROWS,
)


def _recognise(shapes: Shapes) -> Settings | None:
    needed = [f"{head}/block/conv1/kernel" for head in (_HEATMAPS, _OFFSETS)]
    if not shapes.keys() >= {*needed}:
        return None
    count = num_outputs(shapes, f"{_HEATMAPS}/output")
    inputs = [
        shapes.get(f"{head}/input/conv/kernel", ())[2:3]
        for head in (_HEATMAPS, _OFFSETS)
    ]
    has_fine = f"{_FINE}/conv/kernel" in shapes
    return {
        "backbone": hrnet_settings(shapes, "dense/backbone"),
        "heatmap_hidden": num_outputs(shapes, f"{_HEATMAPS}/input/conv"),
        "offset_hidden": num_outputs(shapes, f"{_OFFSETS}/input/conv"),
        "fine_hidden": num_outputs(shapes, f"{_FINE}/conv") if has_fine else 0,
        "adaptive": f"{_HEATMAPS}/block/transform1/kernel" in shapes,
        "guidance": inputs[0] != inputs[1],
        "num_keypoints": count,
        **scorer_weights.scorer_settings(shapes, count),
    }


FORMAT = WeightFormat(
    _ROWS, _recognise, merge=_merge, split=_split, files=scorer_weights.FILES
)
