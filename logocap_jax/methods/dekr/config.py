"""Settings of DEKR and the network that they describe."""

import dataclasses

import jax.numpy as jnp

from logocap_jax.methods import dense_config
from logocap_jax.methods.base import TEST_TIME
from logocap_jax.methods.dekr.decoder import DECODERS, Decoder
from logocap_jax.methods.dekr.network import DekrNetwork
from logocap_jax.methods.dense_config import require
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.selector import SelectorConfig
from logocap_jax.skeletons import CROWDPOSE


@dataclasses.dataclass(frozen=True)
class DekrConfig(PoseMapConfig, SelectorConfig):
    """Settings of DEKR; defaults are the reference's for W32.

    Attributes:
      keypoint_channels: channels of each keypoint's branch.
      nms_closeness: poses are compared within this share of the diagonal of their
        keypoints' box; None: 0.05, with several scales 0.15.
      scale_factor: of the centre values of scales other than 1; None: 0.9, of
        CrowdPose 0.8.
      matching: move keypoints to the nearest peak of their heatmap.
      decoder: whose rules make poses of the maps, see `decoder.DECODERS`.
    """

    keypoint_channels: int = 15
    offset_loss_weight: float = 0.03
    nms_closeness: float | None = dataclasses.field(default=None, metadata=TEST_TIME)
    scale_factor: float | None = dataclasses.field(default=None, metadata=TEST_TIME)
    matching: bool = dataclasses.field(default=False, metadata=TEST_TIME)
    decoder: str = dataclasses.field(default="official", metadata=TEST_TIME)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        require(self, ("keypoint_channels",), lambda value: value > 0, "more than 0")
        require(
            self,
            ("nms_closeness", "scale_factor"),
            lambda value: value is None or value > 0,
            "more than 0, or None",
        )
        if self.selector and self.other_scales:
            raise ValueError(
                f"method: got selector={self.selector!r} with "
                f"test_scales={self.test_scales}, expected scale 1 alone"
            )
        names = f"one of {', '.join(DECODERS)}"
        require(self, ("decoder",), DECODERS.__contains__, names)
        if self.decoder != "official" and (self.matching or self.other_scales):
            raise ValueError(
                f"method: got decoder={self.decoder!r} with matching={self.matching}, "
                f"test_scales={self.test_scales}, expected neither: only the official "
                "decoder has them"
            )

    @property
    def rules(self) -> Decoder:
        """The rules of `decoder`."""
        return DECODERS[self.decoder]

    @property
    def nms_share(self) -> float:
        """Poses with more close keypoints than this share, rounded down, are one.

        Half; mmpose 0.x has more than 8 of CrowdPose's 14 with W48.
        """
        wide = self.backbone.channels == 48 and self.skeleton == CROWDPOSE
        return 8.5 / 14 if self.decoder == "mmpose_0x" and wide else 0.5

    @property
    def closeness(self) -> float:
        """`nms_closeness`, resolved."""
        default = 0.05 if len(self.test_scales) == 1 else 0.15
        return default if self.nms_closeness is None else self.nms_closeness

    @property
    def factor(self) -> float:
        """`scale_factor`, resolved."""
        default = 0.8 if self.skeleton == CROWDPOSE else 0.9
        return default if self.scale_factor is None else self.scale_factor

    def network(self) -> DekrNetwork:
        """The network with these sizes."""
        return DekrNetwork(
            backbone=self.backbone,
            num_keypoints=self.skeleton.num_keypoints,
            heatmap_hidden=self.heatmap_hidden,
            keypoint_channels=self.keypoint_channels,
            selector=self.selector_outputs,
            dtype=jnp.dtype(self.dtype),
        )


# The smallest net, for contract tests.
TINY = {**dense_config.TINY, "keypoint_channels": 1}
