"""Settings of the method and the network that they describe."""

import dataclasses

import jax.numpy as jnp

from logocap_jax.geometry import STRIDE, CellRule
from logocap_jax.methods import dense_config
from logocap_jax.methods.base import TEST_TIME
from logocap_jax.methods.dense_config import require
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.ranking.network import DILATIONS, RankingNetwork
from logocap_jax.skeletons import COCO, CROWDPOSE

CENTERS = ("mean", "box")


@dataclasses.dataclass(frozen=True)
class RankingConfig(PoseMapConfig):
    """Settings of the method; defaults are the reference's for W32.

    Attributes:
      offset_hidden: channels of the regression head.
      fine_hidden: channels of the head of heatmaps at stride 2; 0: none.
      fine_background_weight: as `background_weight`, of heatmaps at stride 2.
      adaptive: adaptive convolutions; off, as an ablation: ordinary ones.
      guidance: the regression head reads the heatmaps; off: an ablation.
      center: a pose's centre: the mean of its keypoints or, as an ablation, the middle
        of the person's box.
      scale_factor: of the centre values of scales other than 1.
      nms_distance: keypoints closer than this coincide, input px.
      nms_matches: poses with more coinciding keypoints are duplicates; None: 10, of
        skeletons other than COCO's and CrowdPose's as large a share of the keypoints.
    """

    offset_hidden: int = 256
    fine_hidden: int = 0
    fine_background_weight: float = 0.025
    adaptive: bool = True
    guidance: bool = True
    center: str = "mean"
    scale_factor: float = dataclasses.field(default=0.001, metadata=TEST_TIME)
    nms_distance: float = dataclasses.field(default=10.0, metadata=TEST_TIME)
    nms_matches: int | None = dataclasses.field(default=None, metadata=TEST_TIME)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        positive = ("offset_hidden", "scale_factor", "nms_distance")
        require(self, positive, lambda value: value > 0, "more than 0")
        require(self, ("fine_hidden",), lambda value: value >= 0, "0 or more")
        require(
            self,
            ("nms_matches",),
            lambda value: value is None or value >= 0,
            "0 or more, or None",
        )
        require(self, ("center",), CENTERS.__contains__, f"one of {CENTERS}")

    @property
    def matches(self) -> int:
        """`nms_matches`, resolved."""
        if self.nms_matches is not None:
            return self.nms_matches
        if self.skeleton in (COCO, CROWDPOSE):
            return 10
        return int(10 / COCO.num_keypoints * self.skeleton.num_keypoints)

    @property
    def cells(self) -> CellRule:
        """The cells of averaged heatmaps and pose maps."""
        return CellRule(STRIDE // 2 if self.fine_hidden else STRIDE, 0.0)

    def network(self) -> RankingNetwork:
        """The network with these sizes.

        Reference behaviour, a slip: in training the layer that the heatmap head starts
        with runs once per block, so its statistics move as often; not so with `fine`
        heatmaps (specification, 5).
        """
        repeats = self.is_reference and not self.fine_hidden
        return RankingNetwork(
            backbone=self.backbone,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_hidden=self.heatmap_hidden,
            offset_hidden=self.offset_hidden,
            fine_hidden=self.fine_hidden,
            adaptive=self.adaptive,
            guidance=self.guidance,
            input_momentum=0.9 ** (len(DILATIONS) if repeats else 1),
            dtype=jnp.dtype(self.dtype),
        )


# The smallest net, for contract tests.
TINY = {**dense_config.TINY, "offset_hidden": 4}
