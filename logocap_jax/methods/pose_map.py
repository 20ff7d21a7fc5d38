"""Pose maps: for every cell the pose that its offsets point to.

Shared by the methods of `../shared/siblings/dekr/spec.md`; specification, 1 to 4 and 7.
"""

import dataclasses

from logocap_jax.inference.averaging import are_scales
from logocap_jax.methods.base import TEST_TIME
from logocap_jax.methods.initial_poses import DTYPES, require
from logocap_jax.models.hrnet import W32, HRNetConfig
from logocap_jax.skeletons import COCO, Skeleton

QUIRKS = ("reference", "fixed")
_FIRST_WIDE = 17  # reference behaviour: from this channel on heatmaps are wide


@dataclasses.dataclass(frozen=True)
class PoseMapConfig:
    """Settings of heatmaps and pose maps; defaults are the reference's for W32.

    Attributes:
      skeleton: keypoints of the data set.
      backbone: sizes of the HRNet.
      heatmap_hidden: hidden channels of the heatmap head.
      num_slots: N, pose slots per image.
      heatmap_sigma: sigma of keypoint targets, in cells.
      center_sigma: sigma of the centre target, in cells; see `sigmas`.
      offset_radius: half the side of the region that holds offsets, in cells.
      background_weight: weight of heatmap cells far from all keypoints.
      smooth_l1_beta: where the offset loss turns from quadratic to linear.
      offset_loss_weight: weight of the offset loss in the total.
      center_threshold: a pose's centre value is above it.
      flip_test: average with the mirror image at test time.
      test_scales: scales of the input at test time, 1 among them.
      scorer: score poses by the OKS that a net predicts for them.
      quirks: `reference`: slips of the release, which its weights know, are kept;
        `fixed`: they are not.
      dtype: dtype of the convolutions.

    Raises:
      ValueError: if a setting has no meaning.
    """

    skeleton: Skeleton = COCO
    backbone: HRNetConfig = W32
    heatmap_hidden: int = 32
    num_slots: int = 30
    heatmap_sigma: float = 2.0
    center_sigma: float = 4.0
    offset_radius: int = 4
    background_weight: float = 0.1
    smooth_l1_beta: float = 1 / 9
    offset_loss_weight: float = 0.01
    center_threshold: float = dataclasses.field(default=0.01, metadata=TEST_TIME)
    flip_test: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    test_scales: tuple[int | float, ...] = dataclasses.field(
        default=(1.0,), metadata=TEST_TIME
    )
    scorer: bool = dataclasses.field(default=False, metadata=TEST_TIME)
    quirks: str = "reference"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings."""
        positive = (
            *("heatmap_hidden", "num_slots"),
            *("heatmap_sigma", "center_sigma", "smooth_l1_beta"),
        )
        require(self, positive, lambda value: value > 0, "more than 0")
        nonnegative = ("offset_radius", "center_threshold")
        require(self, nonnegative, lambda value: value >= 0, "0 or more")
        expected = "different multiples of 0.5, 1 among them, such as (0.5, 1.0, 2.0)"
        require(self, ("test_scales",), _are_scales, expected)
        require(self, ("quirks",), QUIRKS.__contains__, f"one of {QUIRKS}")
        require(self, ("dtype",), DTYPES.__contains__, f"one of {DTYPES}")

    @property
    def other_scales(self) -> tuple[float, ...]:
        """The scales other than 1, largest first."""
        return tuple(
            sorted((float(s) for s in self.test_scales if s != 1), reverse=True)
        )

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Sigma of each keypoint's heatmap and, last, of the centre's.

        Reference behaviour: heatmaps from number 17 on have the centre's, so that with
        fewer keypoints than COCO's the centre has that of keypoints (specification, 9).
        """
        count = self.skeleton.num_keypoints
        first = _FIRST_WIDE if self.quirks == "reference" else count
        return tuple(
            self.heatmap_sigma if i < first else self.center_sigma
            for i in range(count + 1)
        )


def _are_scales(value: object) -> bool:
    # Inputs are multiples of 64 px, the network's coarsest maps have stride 32.
    return are_scales(value) and all(scale % 0.5 == 0 for scale in value)
