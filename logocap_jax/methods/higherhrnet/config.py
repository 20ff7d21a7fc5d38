"""Settings of HigherHRNet with associative embedding."""

import dataclasses

from logocap_jax.methods import higher_maps
from logocap_jax.methods.base import FREE, TEST_TIME
from logocap_jax.methods.dense_config import require
from logocap_jax.methods.higher_maps import HigherConfig
from logocap_jax.skeletons import COCO

# Reference behaviour: of so many keypoints as COCO's, head and trunk come first.
_COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


@dataclasses.dataclass(frozen=True)
class HigherHRNetConfig(HigherConfig):
    """Settings of the method; defaults are the reference's for W32.

    Attributes:
      push_weight: of the loss that keeps people's tags apart.
      pull_weight: of the loss that keeps a person's tags together.
      num_candidates: N, candidates of each type.
      detection_threshold: a candidate's heatmap value is above it.
      tag_threshold: a person takes candidates whose tags are nearer than this.
      max_people: only the first so many people can gain joints.
      refine: look for a person's missing joints in all of the heatmap.
      joints_per_step: missing joints that are looked for at once, of each image.
    """

    center: bool = False
    push_weight: float = 1e-3
    pull_weight: float = 1e-3
    num_candidates: int = dataclasses.field(default=30, metadata=TEST_TIME)
    detection_threshold: float = dataclasses.field(default=0.1, metadata=TEST_TIME)
    tag_threshold: float = dataclasses.field(default=1.0, metadata=TEST_TIME)
    max_people: int = dataclasses.field(default=30, metadata=TEST_TIME)
    refine: bool = dataclasses.field(default=True, metadata=TEST_TIME)
    joints_per_step: int = dataclasses.field(default=8, metadata=FREE)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        positive = ("num_candidates", "tag_threshold", "max_people", "joints_per_step")
        require(self, positive, lambda value: value > 0, "more than 0")
        nonnegative = ("detection_threshold", "push_weight", "pull_weight")
        require(self, nonnegative, lambda value: value >= 0, "0 or more")

    @property
    def order(self) -> tuple[int, ...]:
        """Types in the order in which they are grouped (specification, 4)."""
        count = self.skeleton.num_keypoints
        return _COCO_ORDER if count == COCO.num_keypoints else tuple(range(count))


# Settings of the smallest net, for contract tests.
TINY = {
    **higher_maps.TINY,
    "num_candidates": 5,
    "detection_threshold": 1e-6,
}
