"""Settings that all methods with dense maps have, and checks of settings."""

import dataclasses
from collections.abc import Callable
from typing import Any

from logocap_jax.inference.averaging import are_scales
from logocap_jax.methods.base import TEST_TIME
from logocap_jax.models.hrnet import W32, HRNetConfig
from logocap_jax.skeletons import COCO, Skeleton

DTYPES = ("float32", "bfloat16", "float16")


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
class DenseConfig:
    """Settings of dense maps; defaults are the reference's for W32.

    Attributes:
      skeleton: keypoints of the data set.
      backbone: sizes of the HRNet.
      heatmap_hidden: hidden channels of the heatmap head.
      num_slots: N, pose slots per image.
      heatmap_sigma: sigma of keypoint targets, in cells.
      center_sigma: sigma of the centre target, in cells.
      offset_radius: half the side of the region that holds offsets, in cells.
      background_weight: weight of heatmap cells far from all keypoints.
      smooth_l1_beta: where the offset loss turns from quadratic to linear.
      offset_loss_weight: weight of the offset loss in the total.
      center_threshold: a valid pose's centre value reaches it.
      flip_test: average with the mirror image at test time.
      test_scales: scales of the input at test time, 1 among them.
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
    center_threshold: float = 0.01
    flip_test: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    test_scales: tuple[int | float, ...] = dataclasses.field(
        default=(1.0,), metadata=TEST_TIME
    )
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the settings."""
        positive = (
            *("heatmap_hidden", "num_slots"),
            *("heatmap_sigma", "center_sigma", "smooth_l1_beta"),
        )
        require(self, positive, lambda value: value > 0, "more than 0")
        require(self, ("offset_radius",), lambda value: value >= 0, "0 or more")
        expected = "different numbers above 0, 1 among them, such as (0.5, 1.0, 2.0)"
        require(self, ("test_scales",), are_scales, expected)
        require(self, ("dtype",), DTYPES.__contains__, f"one of {DTYPES}")

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Sigma of each keypoint's heatmap and, last, of the centre's, in cells."""
        keypoints = (self.heatmap_sigma,) * self.skeleton.num_keypoints
        return (*keypoints, self.center_sigma)


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
    "heatmap_hidden": 4,
    "num_slots": 5,
    "center_threshold": 1e-6,
}
