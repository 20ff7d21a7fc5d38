"""PyTorch names and sizes of the dense network (`models.dense`); NumPy only."""

from logocap_jax.torch_rows import (
    BIASED_CONV,
    Row,
    Settings,
    Shapes,
    bare_hrnet,
    conv_norm,
    hrnet_rows,
    hrnet_settings,
    num_outputs,
)

_HEATMAPS = "params/dense/heatmap_head"
_OFFSETS = "params/dense/offset_head"

ALIASES = (bare_hrnet("backbone."),)
ROWS = (
    *hrnet_rows("backbone.", "dense/backbone"),
    *conv_norm("transition_cls", "dense/heatmap_head"),
    Row("final_layer_cls", "dense/heatmap_head/output", BIASED_CONV),
    *conv_norm("transition_reg", "dense/offset_head"),
    Row("final_layer_reg", "dense/offset_head/output", BIASED_CONV),
    # Of this project only.
    *conv_norm("transition_sel", "dense/selector_head"),
    Row("final_layer_sel", "dense/selector_head/output", BIASED_CONV),
)


def has_heads(shapes: Shapes) -> bool:
    """True if there are a heatmap and an offset head."""
    return all(f"{head}/conv/kernel" in shapes for head in (_HEATMAPS, _OFFSETS))


def dense_settings(shapes: Shapes) -> Settings:
    """Sizes of backbone and heads.

    Raises:
      ValueError: the backbone is no HRNet.
    """
    return {
        "backbone": hrnet_settings(shapes, "dense/backbone"),
        "heatmap_hidden": num_outputs(shapes, f"{_HEATMAPS}/conv"),
        "offset_hidden": num_outputs(shapes, f"{_OFFSETS}/conv"),
        **selector_settings(shapes),
    }


def selector_settings(shapes: Shapes) -> Settings:
    """The kind of the selector, if there is one."""
    shape = shapes.get("params/dense/selector_head/output/kernel")
    if shape is None:
        return {}
    return {"selector": "pose" if shape[-1] == 1 else "keypoint"}


def num_keypoints(shapes: Shapes) -> int:
    """Number of keypoints: one heatmap each, and a last one for the pose centre.

    Raises:
      ValueError: the heatmap head has no output.
    """
    return num_outputs(shapes, f"{_HEATMAPS}/output") - 1
