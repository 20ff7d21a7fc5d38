"""Full-size heatmaps and tags of a HigherHRNet, which several methods group.

Specification: `../shared/siblings/centergroup/spec.md`, 1 to 3.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.inference import averaging
from logocap_jax.inference.averaging import are_scales
from logocap_jax.methods.base import TEST_TIME, InputSpec, Stage, Variables, subtree
from logocap_jax.methods.dense_config import DTYPES, require
from logocap_jax.methods.initial_poses import (
    NORMALISATION,
    backbone_stage,
    mirror_stage,
)
from logocap_jax.methods.pose_map import other_inputs_stage, scale_size
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.higher import HigherNetwork
from logocap_jax.models.hrnet import W32, HRNetConfig
from logocap_jax.models.outside import extend_edges
from logocap_jax.ops.sampling import resized_position, sample_grid, upsample_bilinear
from logocap_jax.skeletons import COCO, Skeleton

FINE = STRIDE // 2
"""Stride of the second output, input px."""

_MULTIPLE = 64  # of the sides of the smallest input, px


@dataclasses.dataclass(frozen=True)
class HigherConfig:
    """Settings of a HigherHRNet; defaults are the reference's for W32.

    Attributes:
      skeleton: keypoints of the data set.
      backbone: sizes of the HRNet.
      head_channels: channels at stride 2.
      head_blocks: residual blocks at stride 2.
      center: a heatmap, and a tag, of the pose centre beside the keypoints'.
      heatmap_sigma: sigma of heatmap targets, in cells.
      flip_test: average with the mirror image at test time.
      test_scales: scales of the input at test time, 1 among them, multiples of 0.5.
      dtype: dtype of the convolutions.

    Raises:
      ValueError: if a setting has no meaning.
    """

    skeleton: Skeleton = COCO
    backbone: HRNetConfig = W32
    head_channels: int = 32
    head_blocks: int = 4
    center: bool = True
    heatmap_sigma: float = 2.0
    flip_test: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    test_scales: tuple[int | float, ...] = dataclasses.field(
        default=(1.0,), metadata=TEST_TIME
    )
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings."""
        positive = ("head_channels", "head_blocks", "heatmap_sigma")
        require(self, positive, lambda value: value > 0, "more than 0")
        expected = "different multiples of 0.5, 1 among them, such as (0.5, 1.0, 2.0)"
        require(self, ("test_scales",), _are_half_steps, expected)
        require(self, ("dtype",), DTYPES.__contains__, f"one of {DTYPES}")

    @property
    def num_heatmaps(self) -> int:
        """C: K, and 1 if the pose centre has one."""
        return self.skeleton.num_keypoints + int(self.center)

    @property
    def heatmap_flip_index(self) -> Int[np.ndarray, " C"]:
        """For each heatmap its mirror image."""
        index = np.append(self.skeleton.flip_index, self.skeleton.num_keypoints)
        return index[: self.num_heatmaps].astype(np.int32)

    @property
    def other_scales(self) -> tuple[float, ...]:
        """The scales other than 1, the largest first."""
        scales = sorted(map(float, self.test_scales), reverse=True)
        return tuple(scale for scale in scales if scale != 1)

    def network(self) -> HigherNetwork:
        """The network with these sizes."""
        return HigherNetwork(
            backbone=self.backbone,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_hidden=self.head_channels,
            head_blocks=self.head_blocks,
            center=self.center,
            dtype=jnp.dtype(self.dtype),
        )

    def inputs(self) -> InputSpec:
        """The input at test time and in training (specification, 1)."""
        smallest = min(map(float, self.test_scales))
        return InputSpec(
            mask_strides=(STRIDE, FINE),
            multiple=round(_MULTIPLE / smallest),
            scales=self.other_scales,
            rounding="half even",
        )


def _are_half_steps(value: object) -> bool:
    return are_scales(value) and all(scale % 0.5 == 0 for scale in value)  # type: ignore[attr-defined]


# Sizes of the smallest net, for contract tests.
TINY = {
    "backbone": {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 1, 1),
        "blocks": 1,
    },
    "head_channels": 4,
    "head_blocks": 1,
}

RAW = ("coarse_raw", "tags_raw", "fine_features", "fine_raw")
"""The arrays of `HigherMaps`, of the images and, behind them, of mirror images."""


def map_stages(config: HigherConfig) -> tuple[Stage, ...]:
    """The stages from images to full-size heatmaps and tags.

    Returns:
      Stages that read `image`, uint8, `valid_size` and, of further scales, `scaled`,
      and write `inputs`, `features` and the arrays `RAW`, of images and, behind them,
      mirror images; `half`, heatmaps `[B, H/2, W/2, C]` at scale 1, averaged with the
      mirror image's, and `half_tags`, `[B, H/2, W/2, C, T]`, the image's and, second,
      the mirror image's; of further scales `scaled_half` and `scaled_features`, tuples
      in the order of `other_scales`; `heatmaps`, `[B, H, W, C]`, the mean of all
      scales. Outside of the images all are arbitrary.
    """
    network = config.network()
    stages = (
        NORMALISATION,
        mirror_stage(flip_test=config.flip_test),
        backbone_stage(network),
        Stage("heads", ("features", "input_sizes"), RAW, partial(_heads, network)),
        Stage(
            "outputs",
            ("coarse_raw", "tags_raw", "fine_raw", "valid_size"),
            ("half", "half_tags"),
            partial(_merge, config),
        ),
    )
    if not config.other_scales:
        full = Stage("full size", ("half", "valid_size"), ("heatmaps",), _full_size)
        return (*stages, full)
    scaled = ("scaled_half", "scaled_features")
    reads = ("half", "valid_size", "scaled_half")
    return (
        *stages,
        other_inputs_stage(config.other_scales),
        Stage(
            "other scales",
            ("scaled_input", "valid_size"),
            scaled,
            partial(_other_scales, stages, config),
        ),
        Stage("full size", reads, ("heatmaps",), partial(_mean_of_scales, config)),
    )


def _heads(
    network: HigherNetwork, variables: Variables, features: Array, sizes: Array | None
) -> tuple[Array, ...]:
    dense = subtree(variables, "dense")
    maps = network.apply(dense, features, train=False, valid_size=sizes, part="heads")
    return tuple(maps)  # type: ignore[arg-type]


def _merge(
    config: HigherConfig,
    _: Variables,
    coarse: Array,
    tags: Array,
    fine: Array,
    sizes: Array | None,
) -> tuple[Array, Array]:
    """Both outputs at stride 2, and the mirror image's brought back."""
    both = (
        None if sizes is None else jnp.tile(sizes, (coarse.shape[0] // len(sizes), 1))
    )
    heatmaps = (double(coarse, both, STRIDE) + extend(fine, both, FINE)) / 2
    tags = double(tags, both, STRIDE)
    if not config.flip_test:
        return heatmaps, tags[..., None]
    width = None if sizes is None else sizes[:, 1] // FINE
    count, index = len(heatmaps) // 2, config.heatmap_flip_index

    def back(maps: Array) -> Array:
        return averaging.mirror(maps[count:], width)[..., index]

    mean = (heatmaps[:count] + back(heatmaps)) / 2
    return mean, jnp.stack([tags[:count], back(tags)], axis=-1)


def extend(
    maps: Float[Array, "B h w C"], sizes: Int[Array, "B 2"] | None, stride: int
) -> Float[Array, "B h w C"]:
    """Repeat the last row and column of images all the way out of their arrays.

    `sizes` are their heights and widths, input px; None: they fill their arrays.
    """
    return maps if sizes is None else jax.vmap(extend_edges)(maps, sizes // stride)


def double(
    maps: Float[Array, "B h w C"], sizes: Int[Array, "B 2"] | None, stride: int
) -> Float[Array, "B h2 w2 C"]:
    """Maps at half the stride, bilinear with half-pixel centres; see `extend`."""
    return upsample_bilinear(extend(maps, sizes, stride), 2)


def _full_size(_: Variables, half: Array, sizes: Array | None) -> tuple[Array]:
    return (double(half, sizes, FINE),)


def _other_scales(
    stages: tuple[Stage, ...],
    config: HigherConfig,
    variables: Variables,
    inputs: tuple[Array, ...],
    sizes: Array | None,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Heatmaps at stride 2, and features, of each further scale."""

    def run(image: Array, scale: float) -> tuple[Any, Any]:
        given = {"input": image, "valid_size": scale_size(sizes, scale)}
        found = run_stages(stages, variables, given, ("half", "features"))
        return found["half"], found["features"]

    halves, features = zip(*map(run, inputs, config.other_scales), strict=True)
    return halves, features


def _mean_of_scales(
    config: HigherConfig,
    _: Variables,
    half: Array,
    sizes: Array | None,
    scaled: tuple[Array, ...],
) -> tuple[Array]:
    """Bring all scales to the input of scale 1, and average (specification, 3)."""
    size = (FINE * half.shape[1], FINE * half.shape[2])
    total = double(half, sizes, FINE)
    for maps, scale in zip(scaled, config.other_scales, strict=True):
        total += to_size(maps, size, scale, sizes, stride=FINE)
    return (total / (1 + len(scaled)),)


def to_size(
    maps: Float[Array, "B h w C"],
    size: tuple[int, int],
    scale: float,
    sizes: Int[Array, "B 2"] | None,
    *,
    stride: int,
) -> Float[Array, "B H W C"]:
    """Resize the maps of another scale to the input of scale 1.

    Bilinear with half-pixel centres, edges repeated.

    Args:
      maps: in cells of the input at that scale.
      size: height and width of the input at scale 1, px.
      scale: of the input.
      sizes: height and width of each image at scale 1, input px; None: all.
      stride: px of the scaled input per cell.
    """
    rows, columns = (
        resized_position(jnp.arange(side), stride / scale) for side in size
    )
    cells = jnp.asarray(maps.shape[1:3])
    if sizes is None:
        return jax.vmap(lambda x: sample_grid(x, rows, columns, cells))(maps)
    scaled_sizes = scale_size(sizes, scale)
    assert scaled_sizes is not None
    return jax.vmap(lambda x, cells: sample_grid(x, rows, columns, cells))(
        maps, scaled_sizes // stride
    )
