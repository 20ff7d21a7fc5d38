"""Sizes of the model, read off the shapes of its weights."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from logocap_jax.weights.torch_keys import find_torch_key
from logocap_jax.weights.trees import Variables, flatten

_BACKBONE = "params/dense/backbone"
_HEATMAP = "params/dense/heatmap_head"
_OFFSET = "params/dense/offset_head"
_EMBEDDING = "params/dense/embedding_head"
_MAPS = "params/maps"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes that the weights tell; None where the part is absent.

    Attributes:
      channels: channels of the backbone's stride-4 branch; each further branch
        doubles them.
      stem_channels: channels of the two stride-2 convolutions.
      layer1_channels: width of the first stage's bottlenecks (they put out 4x).
      layer1_blocks: number of those bottlenecks.
      modules: exchange modules in the stages of 2, 3 and 4 branches.
      blocks: residual blocks per branch and module.
      heatmap_hidden: hidden channels of the heatmap head.
      offset_hidden: hidden channels of the offset head.
      embedding: channels of the embedding.
      message_channels: output channels of the message-passing convolutions.
      affines: affine transformations that the attentive norm mixes.
      num_keypoints: K, without the pose centre.
    """

    channels: int
    stem_channels: int
    layer1_channels: int
    layer1_blocks: int
    modules: tuple[int, int, int]
    blocks: int
    heatmap_hidden: int | None
    offset_hidden: int | None
    embedding: int | None
    message_channels: tuple[int, int, int] | None
    affines: int | None
    num_keypoints: int | None

    def absent_parts(self) -> list[str]:
        """Paths of the heads that the weights lack."""
        sizes = {
            _HEATMAP: self.heatmap_hidden,
            _OFFSET: self.offset_hidden,
            _EMBEDDING: self.embedding,
            _MAPS: self.message_channels,
        }
        return [path for path, size in sizes.items() if size is None]


def read_architecture(weights: Variables) -> Architecture:
    """Read the sizes off the weights.

    Args:
      weights: variables, or a PyTorch state dict (NumPy arrays; keys that the model
        does not have are passed over).

    Raises:
      ValueError: no HRNet backbone, a head without its output, or numbered parts
        with gaps. Whether all shapes agree is not checked: `expected_shapes` says
        what they should be.
    """
    shapes = _shapes_by_path(weights)
    heatmap_hidden = _outputs(shapes, f"{_HEATMAP}/conv")
    offset_hidden = _outputs(shapes, f"{_OFFSET}/conv")
    has_maps = any(path.startswith(f"{_MAPS}/") for path in shapes)
    has_keypoints = heatmap_hidden or offset_hidden or has_maps
    return Architecture(
        channels=_require_outputs(shapes, f"{_BACKBONE}/transition1_branch0/conv"),
        stem_channels=_require_outputs(shapes, f"{_BACKBONE}/stem_conv1"),
        layer1_channels=_require_outputs(shapes, f"{_BACKBONE}/layer1_block0/conv1"),
        layer1_blocks=_count(shapes, r"layer1_block(\d+)"),
        modules=(
            _count(shapes, r"stage2_module(\d+)"),
            _count(shapes, r"stage3_module(\d+)"),
            _count(shapes, r"stage4_module(\d+)"),
        ),
        blocks=_count(shapes, r"stage2_module0/branch0_block(\d+)"),
        heatmap_hidden=heatmap_hidden,
        offset_hidden=offset_hidden,
        embedding=_outputs(shapes, f"{_EMBEDDING}/conv"),
        message_channels=_message_channels(shapes) if has_maps else None,
        affines=_affines(shapes) if has_maps else None,
        num_keypoints=_num_keypoints(shapes) if has_keypoints else None,
    )


def _shapes_by_path(weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    if "params" in weights:
        return {path: leaf.shape for path, leaf in flatten(weights).items()}
    shapes = {}
    for key, array in weights.items():
        if entry := find_torch_key(key):
            shapes[entry.path] = entry.layout.to_ours(array).shape
    return shapes


def _outputs(shapes: Mapping[str, tuple[int, ...]], module: str) -> int | None:
    """Output channels of a convolution, None if there is no such convolution."""
    shape = shapes.get(f"{module}/kernel")
    if shape is None:
        return None
    if len(shape) != 4:
        raise ValueError(f"{module}/kernel: got shape {shape}, expected 4 axes")
    return shape[-1]


def _require_outputs(shapes: Mapping[str, tuple[int, ...]], module: str) -> int:
    size = _outputs(shapes, module)
    if size is None:
        raise ValueError(f"{module}/kernel: not among the weights, expected an HRNet's")
    return size


def _count(shapes: Mapping[str, tuple[int, ...]], numbered: str) -> int:
    """How many parts of the backbone match; their numbers must be 0, 1, 2, ..."""
    pattern = re.compile(f"{_BACKBONE}/{numbered}/")
    matches = (pattern.match(path) for path in shapes)
    numbers = {int(match[1]) for match in matches if match}
    if not numbers or numbers != set(range(len(numbers))):
        raise ValueError(
            f"{_BACKBONE}/{numbered}: got numbers {sorted(numbers)[:20]}, "
            "expected 0, 1, ... without gaps"
        )
    return len(numbers)


def _message_channels(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    return (
        _require_outputs(shapes, f"{_MAPS}/message0_conv"),
        _require_outputs(shapes, f"{_MAPS}/message1_conv"),
        _require_outputs(shapes, f"{_MAPS}/message2_conv"),
    )


def _affines(shapes: Mapping[str, tuple[int, ...]]) -> int:
    path = f"{_MAPS}/message1_norm/scale"
    shape = shapes.get(path, ())
    if len(shape) != 2:
        raise ValueError(f"{path}: got shape {shape}, expected affines and channels")
    return shape[0]


def _num_keypoints(shapes: Mapping[str, tuple[int, ...]]) -> int:
    heatmaps = _outputs(shapes, f"{_HEATMAP}/output")
    if heatmaps is not None:
        return heatmaps - 1
    return _require_outputs(shapes, f"{_MAPS}/output")
