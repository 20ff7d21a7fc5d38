"""Settings of a top-down method, and the network that they describe."""

import dataclasses

import jax.numpy as jnp

from logocap_jax.methods.base import TEST_TIME, InputSpec, PersonCrop
from logocap_jax.methods.dense_config import DTYPES, require
from logocap_jax.methods.topdown.heads import HEADS
from logocap_jax.methods.topdown.network import PersonNetwork
from logocap_jax.models.hrnet import W48, HRNetConfig
from logocap_jax.models.resnet import R50, ResNetConfig
from logocap_jax.skeletons import COCO, Skeleton

_ARCHITECTURES = ("hrnet", "resnet")


@dataclasses.dataclass(frozen=True)
class TopDownConfig:
    """Settings of a top-down method; defaults are the release's for HRNet-W48.

    Attributes:
      skeleton: keypoints of the data set.
      head: `sar`: each cell proposes, the most confident one counts; `heatmap`: the
        highest cell; `regression`: two numbers per keypoint, from the mean features.
      architecture: of the backbone: `hrnet`, whose first branch is read, or `resnet`.
      backbone: sizes of the HRNet.
      resnet: sizes of the ResNet.
      deconvolutions: channels of the transposed convolutions between a ResNet and maps
        at stride 4.
      input_size: width and height of a crop, input px.
      padding: a crop is so many times as large as the person's box.
      heatmap_branch: train a heatmap beside the proposals.
      keypoint_threshold: a person's score is the mean of the keypoint scores above it.
      nms_threshold: of the people of an image, those with a larger OKS to a better one
        are left out.
      flip_test: average with the mirror image at test time.
      dtype: dtype of the convolutions.

    Raises:
      ValueError: if a setting has no meaning.
    """

    skeleton: Skeleton = COCO
    head: str = "sar"
    architecture: str = "hrnet"
    backbone: HRNetConfig = W48
    resnet: ResNetConfig = R50
    deconvolutions: tuple[int, ...] = (256, 256, 256)
    input_size: tuple[int, int] = (288, 384)
    padding: float = 1.25
    heatmap_branch: bool = True
    keypoint_threshold: float = dataclasses.field(default=0.2, metadata=TEST_TIME)
    nms_threshold: float = dataclasses.field(default=0.9, metadata=TEST_TIME)
    flip_test: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings."""
        heads = tuple(HEADS)
        require(self, ("head",), heads.__contains__, f"one of {heads}")
        known = _ARCHITECTURES
        require(self, ("architecture",), known.__contains__, f"one of {known}")
        require(
            self,
            ("input_size",),
            lambda size: len(size) == 2 and min(size) > 0 and not any(_odd(size)),
            "width and height, multiples of 32",
        )
        require(
            self,
            ("deconvolutions",),
            lambda channels: len(channels) == 3 and min(channels) > 0,
            "3 numbers above 0, one for each doubling from stride 32 to 4",
        )
        require(self, ("padding",), lambda value: value > 0, "more than 0")
        require(self, ("dtype",), DTYPES.__contains__, f"one of {DTYPES}")

    def network(self) -> PersonNetwork:
        """The network with these sizes."""
        is_resnet = self.architecture == "resnet"
        return PersonNetwork(
            backbone=self.resnet if is_resnet else self.backbone,
            deconvolutions=self.deconvolutions if is_resnet else (),
            head=self.head,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_branch=self.heatmap_branch,
            dtype=jnp.dtype(self.dtype),
        )

    def inputs(self) -> InputSpec:
        """Crops of one person each."""
        crop = PersonCrop(self.input_size, self.padding, self.nms_threshold)
        return InputSpec(multiple=32, shares_canvases=False, crop=crop)


def _odd(size: tuple[int, ...]) -> tuple[int, ...]:
    """What is left of the sides beyond multiples of the deepest stride."""
    return tuple(side % 32 for side in size)


# The smallest net, for contract tests; its keypoints lie in the crop for any weights.
TINY = {
    "head": "heatmap",
    "backbone": {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 1, 1),
        "blocks": 1,
    },
    "input_size": (64, 64),
}
