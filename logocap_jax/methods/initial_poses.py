"""Initial poses: dense maps, and the rough poses that they hold.

LOGO-CAP starts from them; the `center_offset` baseline is nothing else.
"""

import dataclasses
import typing
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from logocap_jax import geometry
from logocap_jax.codecs import heatmap, offset
from logocap_jax.inference import averaging
from logocap_jax.methods import dense_config
from logocap_jax.methods.base import MapLayer, Stage, Variables, subtree
from logocap_jax.methods.dense_config import require
from logocap_jax.methods.selector import (
    SelectorConfig,
    confidence_stage,
    read_windows,
)
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.dense import DenseNetwork, PartedNetwork
from logocap_jax.models.outside import valid_mask
from logocap_jax.ops.sampling import sample_window
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import DenseMaps, Poses

# Mean and standard deviation of ImageNet's RGB values, which HRNet was trained with.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class InitialPosesConfig(SelectorConfig):
    """Settings of dense maps and initial poses; defaults are the reference's for W32.

    Maps of several `test_scales` are averaged; the embedding is that of scale 1.

    Attributes:
      offset_hidden: hidden channels of the offset head.
    """

    offset_hidden: int = 256

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        require(self, ("offset_hidden",), lambda value: value > 0, "more than 0")

    def network(self, embedding: int = 0) -> DenseNetwork:
        """The network with these sizes; see `DenseNetwork`."""
        return DenseNetwork(
            backbone=self.backbone,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_hidden=self.heatmap_hidden,
            offset_hidden=self.offset_hidden,
            embedding=embedding,
            selector=self.selector_outputs,
            dtype=jnp.dtype(self.dtype),
        )


# The smallest net, for contract tests.
TINY = {**dense_config.TINY, "offset_hidden": 4}


def normalise(image: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """RGB in 0..255 -> the network's input: ImageNet's mean and deviation taken off."""
    mean, std = np.asarray(IMAGE_MEAN, np.float32), np.asarray(IMAGE_STD, np.float32)
    return (image.astype(jnp.float32) / 255 - mean) / std


NORMALISATION = Stage(
    "normalisation", ("image",), ("input",), lambda _, image: (normalise(image),)
)
"""The stage from `image`, uint8, to `input`."""


def mirror_stage(*, flip_test: bool) -> Stage:
    """The stage from images to `inputs`: those and, behind them, their mirror images.

    Without flip test, those alone.
    """

    def mirror(
        _: Variables, image: Array, sizes: Array | None
    ) -> tuple[Array, Array | None]:
        if not flip_test:
            return image, sizes
        mirrored = averaging.mirror(image, None if sizes is None else sizes[:, 1])
        both = None if sizes is None else jnp.tile(sizes, (2, 1))
        return jnp.concatenate([image, mirrored]), both

    reads, writes = ("input", "valid_size"), ("inputs", "input_sizes")
    return Stage("mirror image", reads, writes, mirror)


def backbone_stage(network: PartedNetwork) -> Stage:
    """The stage from the network's inputs to features; its variables are `dense`."""

    def run(variables: Variables, image: Array, sizes: Array | None) -> tuple[Array]:
        dense = subtree(variables, "dense")
        features = network.apply(
            dense, image, train=False, valid_size=sizes, part="backbone"
        )
        return (typing.cast(Array, features),)

    return Stage("backbone", ("inputs", "input_sizes"), ("features",), run)


MAPS = ("heatmaps", "offsets", "embedding")
RAW = ("heatmaps_raw", "offsets_raw", "embedding_raw")
_AT_ONE = ("heatmaps_at_1", "offsets_at_1", "embedding_at_1")


def dense_stages(
    network: DenseNetwork, config: InitialPosesConfig
) -> tuple[Stage, ...]:
    """The stages from images to averaged dense maps.

    Maps are averaged with those of the mirror image (`flip_test`), which runs in one
    batch with the image, and of other scales (`test_scales`), each mirrored as well.

    Args:
      network: the network; its variables are the subtree `dense`.
      config: settings.

    Returns:
      Stages that read `image`, uint8, and `valid_size`, and write the arrays `MAPS` at
      scale 1; those named `RAW` are of image and mirror image. All sides are multiples
      of 32 px.
    """
    test_scales = config.test_scales
    merged = MAPS if len(test_scales) == 1 else _AT_ONE
    raw = (*RAW, "selector_raw") if config.selector else RAW
    stages = (
        NORMALISATION,
        mirror_stage(flip_test=config.flip_test),
        backbone_stage(network),
        Stage("heads", ("features",), raw, partial(_heads, network)),
        *((confidence_stage(config),) if config.selector else ()),
        Stage("flip merge", (*RAW, "valid_size"), merged, partial(_merge, config)),
    )
    if len(test_scales) == 1:
        return stages
    average = partial(_average_scales, stages, test_scales)
    reads = ("input", "valid_size", *_AT_ONE)
    return (*stages, Stage("other scales", reads, MAPS, average))


def decode_stages(config: InitialPosesConfig) -> tuple[Stage, ...]:
    """The stages from dense maps to the initial poses of all slots.

    Returns:
      Stages that read the arrays `MAPS` and `valid_size`, and write `centers`,
      `center_values`, `valid` (of slots), `initial` (keypoints, `[B, N, K, 2]`), all in
      input px, and `initial_poses`, scored.
    """
    slots = ("initial", "center_values", "valid")
    return (
        Stage(
            "centre heatmap", ("heatmaps", "valid_size"), ("center_map",), _center_map
        ),
        Stage(
            "centres",
            ("center_map",),
            ("centers", "center_values", "valid"),
            partial(_centers, config),
        ),
        _initial_stage(config),
        Stage(
            "initial scores",
            (*slots, "heatmaps", "valid_size"),
            ("initial_poses",),
            _initial_scores,
        ),
    )


def _heads(
    network: DenseNetwork, variables: Variables, features: Array
) -> tuple[Array, ...]:
    dense = subtree(variables, "dense")
    return network.apply(dense, features, train=False, part="heads")  # type: ignore[return-value]


def _merge(config: InitialPosesConfig, _: Variables, *arrays: Any) -> tuple[Array, ...]:
    *raw, sizes = arrays
    if not config.flip_test:
        return tuple(raw)
    count = raw[0].shape[0] // 2
    maps = DenseMaps(*(x[:count] for x in raw))
    mirrored = DenseMaps(*(x[count:] for x in raw))
    cells = None if sizes is None else sizes[:, 1] // geometry.STRIDE
    merged = averaging.average_mirrored(
        maps, mirrored, config.skeleton.flip_index, cells
    )
    return merged.heatmaps, merged.offsets, merged.embedding


def _average_scales(
    stages: tuple[Stage, ...],
    test_scales: tuple[int | float, ...],
    variables: Variables,
    image: Array,
    sizes: Array | None,
    *base: Array,
) -> tuple[Array, ...]:
    def predict(image: Array, sizes: Array | None) -> DenseMaps:
        given = {"input": image, "valid_size": sizes}
        return DenseMaps(*run_stages(stages, variables, given, _AT_ONE).values())

    maps = averaging.average_scales(
        predict, DenseMaps(*base), image, test_scales, sizes
    )
    return maps.heatmaps, maps.offsets, maps.embedding


def heatmap_layers(
    heatmaps: Float[Array, "B h w K1"],
    skeleton: Skeleton,
    cells: geometry.CellRule = geometry.HALF_PIXEL,
) -> dict[str, MapLayer]:
    """The heatmaps to look at, in the cells that decoding reads them at."""
    return {
        "heatmaps": MapLayer(heatmaps[..., :-1], skeleton.keypoints, cells),
        "centers": MapLayer(heatmaps[..., -1:], ("pose centre",), cells),
    }


def train_maps(
    network: PartedNetwork, variables: Variables, image: Float[Array, "B H W 3"]
) -> tuple[Any, Variables]:
    """The maps of normalised images, and new batch statistics of the network.

    Its variables are the subtree `dense`.
    """
    dense = subtree(variables, "dense")
    maps, updates = network.apply(dense, image, train=True, mutable=["batch_stats"])
    return maps, updates["batch_stats"]


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class InitialPoses:
    """Initial poses of one image in input px, by centre value, highest first."""

    keypoints: Float[Array, "*B N K 2"]
    center_values: Float[Array, "*B N"]
    valid: Bool[Array, "*B N"]


jax.tree_util.register_dataclass(InitialPoses)


def decode_initial(
    center_map: Float[Array, "h w"],
    offsets: Float[Array, "h w K 2"],
    config: InitialPosesConfig,
    selector: Float[Array, "h w C"] | None = None,
) -> InitialPoses:
    """Centres of one image, and the keypoints that the offsets there point to.

    Centres are looked for at input resolution, on the upsampled centre map. `selector`
    are the logits of the selector, if the settings have one.
    """
    given = {
        "heatmaps": center_map[None, ..., None],
        "offsets": offsets[None],
        "valid_size": None,
    }
    if selector is not None:
        given["confidence"] = jax.nn.sigmoid(selector)[None]
    wanted = ("initial", "center_values", "valid")
    slots = run_stages(decode_stages(config), {}, given, wanted)
    return InitialPoses(*(array[0] for array in slots.values()))


def _center_map(_: Variables, heatmaps: Array, sizes: Array | None) -> tuple[Array]:
    """Centre heatmaps in input px; 0 outside of the images."""

    def upsample(heatmaps: Array, valid_size: Array | None) -> Array:
        upsampled = geometry.upsample_to_input(heatmaps[..., -1:], valid_size)[..., 0]
        if valid_size is None:
            return upsampled
        return jnp.where(valid_mask(valid_size, *upsampled.shape), upsampled, 0)

    return (jax.vmap(upsample)(heatmaps, sizes),)


def _centers(
    config: InitialPosesConfig, _: Variables, center_map: Array
) -> tuple[Array, Array, Array]:
    decode = partial(
        heatmap.decode_centers,
        count=config.num_slots,
        threshold=config.center_threshold,
    )
    return jax.vmap(decode)(center_map)


def _initial_stage(config: InitialPosesConfig) -> Stage:
    """The stage that reads poses at their centres, or where a selector says."""
    if config.selector is None:
        return Stage("initial poses", ("offsets", "centers"), ("initial",), _initial)

    def read(
        _: Variables,
        offsets: Array,
        centers: Array,
        confidence: Array,
        sizes: Array | None,
    ) -> tuple[Array]:
        cells = centers / geometry.STRIDE
        found = read_windows(confidence, offsets, cells, sizes, config.offset_radius)
        return (geometry.cell_to_input(found),)

    reads = ("offsets", "centers", "confidence", "valid_size")
    return Stage("initial poses", reads, ("initial",), read)


def _initial(_: Variables, offsets: Array, centers: Array) -> tuple[Array]:
    return (jax.vmap(offset.decode)(offsets, centers),)


def _initial_scores(
    _: Variables,
    initial: Array,
    center_values: Array,
    valid: Array,
    heatmaps: Array,
    sizes: Array | None,
) -> tuple[Poses]:
    slots = InitialPoses(initial, center_values, valid)
    return (jax.vmap(score_initial)(slots, heatmaps, sizes),)


def score_initial(
    initial: InitialPoses,
    heatmaps: Float[Array, "h w K1"],
    valid_size: Int[Array, "2"] | None = None,
) -> Poses:
    """Score the initial poses of one image, as an answer by themselves.

    A keypoint's score is its heatmap there, upsampled to input px, times the centre
    value. The heatmaps are those of the keypoints first; only the top-left
    `valid_size`, px, of them is image; None: all.
    """
    cells = None if valid_size is None else valid_size // geometry.STRIDE

    def sample(point: Array, channel: Array) -> Array:
        return sample_window(
            heatmaps,
            point,
            channel,
            radius=0,
            stride=geometry.STRIDE,
            valid_size=cells,
        )

    channels = jnp.arange(initial.keypoints.shape[1])
    values = jax.vmap(lambda points: jax.vmap(sample)(points, channels))(
        initial.keypoints
    )[..., 0, 0]
    scores = values * initial.center_values[:, None]
    pose_scores = jnp.mean(scores, axis=-1)
    valid = initial.valid & (pose_scores > 0)
    return Poses(initial.keypoints, scores, pose_scores, valid)
