"""PyTorch checkpoints of top-down methods: those that mmpose writes."""

from collections.abc import Iterator

from logocap_jax.torch_rows import (
    BIASED_CONV,
    CONV,
    LINEAR,
    NORM,
    TRANSPOSED,
    Leaf,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    bare_hrnet,
    hrnet_rows,
    hrnet_settings,
    num_modules,
    num_outputs,
    residual_rows,
)

_BACKBONE, _HEAD = "dense/backbone", "dense/head"
# Of the convolution that tells a head, and how many outputs it has for a keypoint.
_HEADS = {
    "sar": ("selector", 1),
    "heatmap": ("output", 1),
    "regression": ("fc", 2),
}


def _resnet_rows() -> Iterator[Row]:
    """The stages of `models.resnet.ResNet` that an HRNet lacks."""
    for stage in (2, 3, 4):
        torch = f"backbone.layer{stage}.{{i}}"
        block = f"{_BACKBONE}/layer{stage}_block{{i}}"
        yield from residual_rows(torch, block)
        yield Row(f"{torch}.downsample.0", f"{block}/shortcut_conv", CONV)
        yield Row(f"{torch}.downsample.1", f"{block}/shortcut_norm", NORM)


def _deconvolution_rows() -> Iterator[Row]:
    kernel = (Leaf("weight", "params", "kernel", TRANSPOSED),)
    for i in range(3):
        path = "dense/deconvolutions"
        yield Row(f"head.deconv_layers.{3 * i}", f"{path}/conv{i}", kernel)
        yield Row(f"head.deconv_layers.{3 * i + 1}", f"{path}/norm{i}", NORM)


_ROWS = (
    *hrnet_rows("backbone.", _BACKBONE),
    *_resnet_rows(),
    *_deconvolution_rows(),
    Row("head.logit_conv", f"{_HEAD}/selector", BIASED_CONV),
    Row("head.offset_conv", f"{_HEAD}/offset", BIASED_CONV),
    Row("head.heatmap_conv", f"{_HEAD}/heatmap", BIASED_CONV),
    Row("head.final_layer", f"{_HEAD}/output", BIASED_CONV),
    Row("head.fc", f"{_HEAD}/fc", LINEAR),
)


def _recognise(shapes: Shapes) -> Settings | None:
    for head, (module, per_keypoint) in _HEADS.items():
        shape = shapes.get(f"params/{_HEAD}/{module}/kernel")
        if shape is not None:
            branch = f"params/{_HEAD}/heatmap/kernel" in shapes
            return {
                "head": head,
                "num_keypoints": shape[-1] // per_keypoint,
                "heatmap_branch": branch or head != "sar",
                **_backbone_settings(shapes),
            }
    return None


def _backbone_settings(shapes: Shapes) -> Settings:
    root = f"params/{_BACKBONE}"
    if f"{root}/layer4_block0/conv1/kernel" not in shapes:
        return {
            "architecture": "hrnet",
            "backbone": hrnet_settings(shapes, _BACKBONE),
        }
    resnet = {
        "blocks": tuple(
            num_modules(shapes, root, rf"layer{stage}_block(\d+)")
            for stage in (1, 2, 3, 4)
        ),
        "channels": num_outputs(shapes, f"{root}/layer1_block0/conv1"),
        "stem_channels": num_outputs(shapes, f"{root}/stem_conv1"),
        "bottleneck": f"{root}/layer1_block0/conv3/kernel" in shapes,
    }
    deconvolutions = tuple(
        num_outputs(shapes, f"params/dense/deconvolutions/conv{i}") for i in range(3)
    )
    return {
        "architecture": "resnet",
        "resnet": resnet,
        "deconvolutions": deconvolutions,
    }


FORMAT = WeightFormat(_ROWS, _recognise, (bare_hrnet("backbone."),))
