"""Initial poses: dense maps, and the rough poses that they hold.

What LOGO-CAP starts from, and all there is to the `center_offset` baseline.
"""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from logocap_jax import geometry
from logocap_jax.codecs import heatmap, offset
from logocap_jax.inference import flip, scales
from logocap_jax.methods.base import TEST_TIME, MapLayer, Variables
from logocap_jax.models.dense import DenseNetwork
from logocap_jax.models.hrnet import W32, HRNetConfig
from logocap_jax.models.outside import valid_mask
from logocap_jax.ops.sampling import sample_window
from logocap_jax.skeletons import COCO, Skeleton
from logocap_jax.structures import DenseMaps, Poses

# Mean and standard deviation of ImageNet's RGB values, which HRNet was trained with.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


_DTYPES = ("float32", "bfloat16", "float16")


def require(
    config: Any, names: tuple[str, ...], holds: Callable[[Any], bool], expected: str
) -> None:
    """Check settings of a method.

    Raises:
      ValueError: names the first that `holds` says no to.
    """
    for name in names:
        if not holds(getattr(config, name)):
            raise ValueError(
                f"method: got {name}={getattr(config, name)!r}, expected {expected}"
            )


@dataclasses.dataclass(frozen=True)
class InitialPosesConfig:
    """Settings of dense maps and initial poses; defaults are the reference's for W32.

    Attributes:
      skeleton: keypoints of the data set.
      backbone: sizes of the HRNet.
      heatmap_hidden: hidden channels of the heatmap head.
      offset_hidden: hidden channels of the offset head.
      num_slots: N, pose slots per image.
      heatmap_sigma: sigma of keypoint targets, in cells.
      center_sigma: sigma of the centre target, in cells.
      offset_radius: half the side of the region that holds offsets, in cells.
      background_weight: weight of heatmap cells far from all keypoints.
      smooth_l1_beta: where the offset loss turns from quadratic to linear.
      offset_loss_weight: weight of the offset loss in the total.
      center_threshold: least centre value of a valid pose.
      flip_test: average with the mirror image at test time.
      test_scales: scales of the input whose maps are averaged at test time; 1, whose
        embedding is used, is one of them.
      dtype: dtype of the convolutions.
    """

    skeleton: Skeleton = COCO
    backbone: HRNetConfig = W32
    heatmap_hidden: int = 32
    offset_hidden: int = 256
    num_slots: int = 30
    heatmap_sigma: float = 2.0
    center_sigma: float = 4.0
    offset_radius: int = 4
    background_weight: float = 0.1
    smooth_l1_beta: float = 1 / 9
    offset_loss_weight: float = 0.01
    center_threshold: float = 0.01
    flip_test: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    test_scales: tuple[int | float, ...] = dataclasses.field(
        default=(1.0,), metadata=TEST_TIME
    )
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        positive = (
            *("heatmap_hidden", "offset_hidden", "num_slots"),
            *("heatmap_sigma", "center_sigma", "smooth_l1_beta"),
        )
        require(self, positive, lambda value: value > 0, "more than 0")
        require(self, ("offset_radius",), lambda value: value >= 0, "0 or more")
        expected = "different numbers above 0, 1 among them, such as (0.5, 1.0, 2.0)"
        require(self, ("test_scales",), scales.are_scales, expected)
        require(self, ("dtype",), _DTYPES.__contains__, f"one of {_DTYPES}")

    def network(self, embedding: int = 0) -> DenseNetwork:
        """The network with these sizes; see `DenseNetwork`."""
        return DenseNetwork(
            backbone=self.backbone,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_hidden=self.heatmap_hidden,
            offset_hidden=self.offset_hidden,
            embedding=embedding,
            dtype=jnp.dtype(self.dtype),
        )


# The smallest net, for tests of what every method owes to the rest.
TINY = {
    "backbone": {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 1, 1),
        "blocks": 1,
    },
    "heatmap_hidden": 4,
    "offset_hidden": 4,
    "num_slots": 5,
    "center_threshold": 1e-6,
}


def normalise(image: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """RGB in 0..255 -> what the network expects."""
    mean, std = np.asarray(IMAGE_MEAN, np.float32), np.asarray(IMAGE_STD, np.float32)
    return (image.astype(jnp.float32) / 255 - mean) / std


def predict_maps(
    network: DenseNetwork,
    variables: Variables,
    image: Float[Array, "B H W 3"],
    config: InitialPosesConfig,
    valid_size: Int[Array, "B 2"] | None = None,
) -> DenseMaps:
    """Dense maps at test time, averaged over what the config asks for.

    That is the mirror image (`flip_test`) and other scales (`test_scales`), each of
    which is mirrored as well.

    Args:
      network: the network.
      variables: its own variables.
      image: normalised images; they and their mirror images run as one batch.
      config: settings.
      valid_size: height and width of each image, px, multiples of 32; None: all.

    Returns:
      The maps, at scale 1.
    """

    def run(images: Array, valid_sizes: Array | None) -> DenseMaps:
        return DenseMaps(
            *network.apply(variables, images, train=False, valid_size=valid_sizes)
        )

    def flip_test(images: Array, valid_sizes: Array | None) -> DenseMaps:
        width = None if valid_sizes is None else valid_sizes[:, 1]
        maps = run(
            jnp.concatenate([images, flip.mirror(images, width)]),
            None if valid_sizes is None else jnp.tile(valid_sizes, (2, 1)),
        )
        count = images.shape[0]
        straight = jax.tree.map(lambda x: x[:count], maps)
        mirrored = jax.tree.map(lambda x: x[count:], maps)
        cells = None if width is None else width // geometry.STRIDE
        return flip.merge(straight, mirrored, config.skeleton.flip_index, cells)

    predict = flip_test if config.flip_test else run
    return scales.average(predict, image, config.test_scales, valid_size)


def heatmap_layers(maps: DenseMaps, config: InitialPosesConfig) -> dict[str, MapLayer]:
    """The heatmaps to look at, in the cells that decoding reads them at."""
    cells, names = geometry.CellRule(), config.skeleton.keypoints
    return {
        "heatmaps": MapLayer(maps.heatmaps[..., :-1], names, cells),
        "centers": MapLayer(maps.heatmaps[..., -1:], ("pose centre",), cells),
    }


def train_maps(
    network: DenseNetwork, variables: Variables, image: Float[Array, "B H W 3"]
) -> tuple[DenseMaps, Variables]:
    """Dense maps and new batch statistics in training."""
    maps, updates = network.apply(variables, image, train=True, mutable=["batch_stats"])
    return DenseMaps(*maps), updates["batch_stats"]


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class InitialPoses:
    """Initial poses of one image.

    Attributes:
      keypoints: input px.
      center_values: centre heatmap at the pose's centre, highest first.
      valid: slot holds a pose.
    """

    keypoints: Float[Array, "*B N K 2"]
    center_values: Float[Array, "*B N"]
    valid: Bool[Array, "*B N"]


jax.tree_util.register_dataclass(InitialPoses)


def decode_initial(
    center_map: Float[Array, "h w"],
    offsets: Float[Array, "h w K 2"],
    config: InitialPosesConfig,
    valid_size: Int[Array, "2"] | None = None,
) -> InitialPoses:
    """Centres of one image, and the keypoints that the offsets there point to.

    Centres are looked for at input resolution, on the upsampled centre map, and only
    within `valid_size`, px, where that is given.
    """
    center_input = geometry.upsample_to_input(center_map[..., None], valid_size)[..., 0]
    if valid_size is not None:
        center_input = jnp.where(
            valid_mask(valid_size, *center_input.shape), center_input, 0
        )
    centers, values, valid = heatmap.decode_centers(
        center_input, count=config.num_slots, threshold=config.center_threshold
    )
    return InitialPoses(offset.decode(offsets, centers), values, valid)


def score_initial(
    initial: InitialPoses,
    heatmaps: Float[Array, "h w K1"],
    valid_size: Int[Array, "2"] | None = None,
) -> Poses:
    """Initial poses of one image as an answer of their own.

    A keypoint's score is its heatmap there, upsampled to input px, times the centre
    value. The heatmaps are those of the keypoints first; only the top-left
    `valid_size`, px, of them is image; None: all.
    """
    cells = None if valid_size is None else valid_size // geometry.STRIDE

    def sample(point: Array, kind: Array) -> Array:
        return sample_window(
            *(heatmaps, point, kind), radius=0, stride=geometry.STRIDE, valid_size=cells
        )

    channels = jnp.arange(initial.keypoints.shape[1])
    values = jax.vmap(lambda points: jax.vmap(sample)(points, channels))(
        initial.keypoints
    )[..., 0, 0]
    scores = values * initial.center_values[:, None]
    pose_scores = jnp.mean(scores, axis=-1)
    valid = initial.valid & (pose_scores > 0)
    return Poses(initial.keypoints, scores, pose_scores, valid, initial.keypoints)
