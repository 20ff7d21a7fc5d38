"""PyTorch names and sizes of HigherHRNet (`models.higher`); NumPy only."""

from collections.abc import Iterator

from logocap_jax.torch_rows import (
    BIASED_CONV,
    Row,
    Settings,
    Shapes,
    fine_rows,
    hrnet_rows,
    hrnet_settings,
    num_modules,
    num_outputs,
)

_ROOT = "params/dense"


def higher_rows(backbone: str, head: str) -> Iterator[Row]:
    """The rows of a `HigherNetwork` in the subtree `dense`.

    `backbone` and `head` are the prefixes of their keys.
    """
    yield from hrnet_rows(backbone, "dense/backbone")
    yield Row(f"{head}final_layers.0", "dense/output", BIASED_CONV)
    yield from fine_rows(f"{head}deconv_layers.0", "dense/fine_head")
    yield Row(f"{head}final_layers.1", "dense/fine_head/output", BIASED_CONV)


def has_higher(shapes: Shapes) -> bool:
    """True if there is a `HigherNetwork`."""
    heads = ("output", "fine_head/conv", "fine_head/output")
    return all(f"{_ROOT}/{head}/kernel" in shapes for head in heads)


def num_heatmaps(shapes: Shapes) -> int:
    """Number of heatmaps, the pose centre's among them.

    Raises:
      ValueError: the head has no output.
    """
    return num_outputs(shapes, f"{_ROOT}/fine_head/output")


def higher_settings(shapes: Shapes) -> Settings:
    """Sizes of backbone and head.

    Raises:
      ValueError: the backbone is no HRNet, or the head is damaged.
    """
    return {
        "backbone": hrnet_settings(shapes, "dense/backbone"),
        "head_channels": num_outputs(shapes, f"{_ROOT}/fine_head/conv"),
        "head_blocks": num_modules(
            shapes, f"{_ROOT}/fine_head", r"block(\d+)", first=1
        ),
    }
