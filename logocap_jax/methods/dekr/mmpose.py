"""DEKR checkpoints of mmpose, 0.x and 1.x, as the release has them; NumPy only.

Names and values follow the specification of mmpose's forms, sections 2 to 4. Like
here, and unlike in the release, the branches of all keypoints are one array.
"""

import re
from typing import NamedTuple

import numpy as np

from logocap_jax.torch_rows import StateDict


class _Form(NamedTuple):
    head: str  #: of its keys
    offsets: str  #: the branches
    center_first: bool  #: the centre's row of heatmaps comes first, not last
    sign: int  #: of offsets: 1: cell - keypoint, as in the release


_FORMS = (
    _Form("keypoint_head", "offset_conv_layers", center_first=True, sign=1),  # 0.x
    _Form("head", "displacement_conv_layers", center_first=False, sign=-1),  # 1.x
)
# `ema_...`: training's second copy of the weights, beside the average (0.x).
_UNUSED = re.compile(r"data_preprocessor\..+|ema_.+|.+\.regular_matrix")
# HEAD and OFFSETS stand for the words of a form.
_NAMES = (
    (r"backbone\.(.+)", r"\1"),
    (r"HEAD\.heatmap_conv_layers\.0\.conv\.(.+)", r"transition_heatmap.0.\1"),
    (r"HEAD\.heatmap_conv_layers\.0\.bn\.(.+)", r"transition_heatmap.1.\1"),
    (r"HEAD\.heatmap_conv_layers\.1\.(.+)", r"head_heatmap.0.0.\1"),
    (r"HEAD\.heatmap_conv_layers\.2\.(.+)", r"head_heatmap.1.\1"),
    (r"HEAD\.OFFSETS\.0\.conv\.(.+)", r"transition_offset.0.\1"),
    (r"HEAD\.OFFSETS\.0\.bn\.(.+)", r"transition_offset.1.\1"),
    (r"HEAD\.OFFSETS\.1\.norm\.(.+)", r"offset_units.0.bn.\1"),
    (r"HEAD\.OFFSETS\.2\.norm\.(.+)", r"offset_units.1.bn.\1"),
    (r"HEAD\.OFFSETS\.1\.(.+)", r"offset_units.0.\1"),
    (r"HEAD\.OFFSETS\.2\.(.+)", r"offset_units.1.\1"),
    (r"HEAD\.OFFSETS\.3\.(.+)", r"offset_final.\1"),
    (r"(?:HEAD\.)?rescore_net\.(.+)", r"scorer.\1"),
)
# Rows of a keypoint in mmpose's 2x3 matrix of (y, x, 1); mmpose adds it to the tap, the
# release takes it in place of the tap's offset: an identity lies between.
_TRANSFORM, _SHIFT = (0, 1, 3, 4), (2, 5)
_IDENTITY = np.array([1, 0, 0, 1], np.float32)
# Sticks of the release in mmpose's order, and -1 where mmpose exchanges the ends; by
# the number of features of the scorer (COCO, CrowdPose).
_STICKS = {
    74: (
        (17, 15, 18, 16, 14, 9, 11, 7, 8, 10, 12, 13, 2, 0, 1, 3, 4, 5, 6),
        (-1,) * 4 + (1,) * 15,
    ),
    59: (
        (11, 9, 12, 10, 13, 7, 8, 14, 3, 4, 5, 6, 0, 2, 1),
        (-1,) * 4 + (1,) * 9 + (-1,) * 2,
    ),
}


def from_mmpose(state: StateDict) -> StateDict:
    """A checkpoint of mmpose with the release's names, branches joined; others as is.

    Its keys tell the form. What has no counterpart keeps its name, and is reported.

    Raises:
      ValueError: two arrays have the same name.
    """
    forms = [form for form in _FORMS if _is_of(form, state)]
    if not forms:
        return state
    converted: StateDict = {}
    for key, array in state.items():
        if _UNUSED.fullmatch(key):
            continue
        found = _convert(_rename(key, forms[0]), array, forms[0])
        if twice := found.keys() & converted.keys():
            raise ValueError(f"two arrays for {min(twice)!r}")
        converted |= found
    return converted


def _is_of(form: _Form, state: StateDict) -> bool:
    return any(key.startswith(f"{form.head}.{form.offsets}.") for key in state)


def _rename(key: str, form: _Form) -> str:
    for pattern, replacement in _NAMES:
        words = pattern.replace("HEAD", form.head).replace("OFFSETS", form.offsets)
        if match := re.fullmatch(words, key):
            return match.expand(replacement)
    return key


def _convert(key: str, array: np.ndarray, form: _Form) -> StateDict:
    module, _, leaf = key.rpartition(".")
    if not array.ndim:  # no array of a head: reported by its shape
        return {key: array}
    if module == "head_heatmap.1" and form.center_first:
        return {key: np.roll(array, -1, axis=0)}
    if module == "offset_final":
        return {key: array * np.float32(form.sign)}
    if module.endswith(".transform_matrix_conv") and len(array) % 6 == 0:
        unit = module.removesuffix(".transform_matrix_conv")
        rows = array.reshape(-1, 6, *array.shape[1:])
        transform = rows[:, _TRANSFORM]
        if leaf == "bias":
            transform = transform + _IDENTITY
        shape = (-1, *array.shape[1:])
        return {
            key: transform.reshape(shape),
            f"{unit}.translation_conv.{leaf}": rows[:, _SHIFT].reshape(shape),
        }
    if key == "scorer.l1.weight":
        known = array.ndim == 2 and array.shape[-1] in _STICKS
        return {key: order_sticks(array)} if known else {f"unknown sticks {key}": array}
    return {key: array}


def order_sticks(weight: np.ndarray) -> np.ndarray:
    """Columns of the scorer's first layer, or features, in the release's order."""
    order, signs = map(np.asarray, _STICKS[weight.shape[-1]])
    count = len(order)
    ordered = weight.copy()
    for axis in (0, 1):
        columns = weight[:, axis : 2 * count : 2]
        ordered[:, 2 * order + axis] = columns * signs.astype(weight.dtype)
    ordered[:, 2 * count + order] = weight[:, 2 * count : 3 * count]
    return ordered
