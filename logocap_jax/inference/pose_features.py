"""Numbers that describe a pose to the scorer (specification, 4)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logocap_jax.skeletons import COCO, CROWDPOSE, Skeleton

# By names of keypoints: the sticks whose mean length is the unit of a pose. COCO's are
# the sides of the trunk.
_UNIT_STICKS = {COCO.keypoints: (9, 11), CROWDPOSE.keypoints: (7, 8)}
# Reference behaviour: the numbers are COCO's for CrowdPose too, whose sticks they make
# the left thigh and the left shin.
_REFERENCE_UNIT = {CROWDPOSE.keypoints: (9, 11)}


def unit_sticks(skeleton: Skeleton, *, quirks: str = "reference") -> tuple[int, ...]:
    """Positions of the sticks whose mean length is the unit of a pose.

    Of COCO's and CrowdPose's keypoints the sides of the trunk, but for the quirk of the
    reference (specification, 16), which `quirks="fixed"` mends; of others all sticks.
    """
    unit = _UNIT_STICKS.get(skeleton.keypoints, tuple(range(len(skeleton.sticks))))
    if quirks == "reference":
        return _REFERENCE_UNIT.get(skeleton.keypoints, unit)
    return unit


def num_pose_features(skeleton: Skeleton) -> int:
    """Length of `pose_features`: 3 S + K."""
    return 3 * len(skeleton.sticks) + skeleton.num_keypoints


def pose_features(
    keypoints: Float[Array, "K 2"],
    keypoint_scores: Float[Array, " K"],
    skeleton: Skeleton,
    *,
    quirks: str = "reference",
) -> Float[Array, " F"]:
    """Describe a pose by the S sticks of its skeleton.

    Args:
      keypoints: image px; where the pose lies in the image does not matter.
      keypoint_scores: one per keypoint.
      skeleton: of the keypoints; has sticks.
      quirks: as for `unit_sticks`.

    Returns:
      The differences of the sticks' ends, `dx dy` of one after the other, and their
      lengths, all in units of `unit_sticks`' mean length, at least 1 px; the keypoint
      scores.
    """
    first, second = np.asarray(skeleton.sticks).T
    difference = keypoints[first] - keypoints[second]  # [S, 2]
    length = jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1))
    chosen = np.asarray(unit_sticks(skeleton, quirks=quirks))
    unit = jnp.maximum(jnp.mean(length[chosen]), 1.0)
    return jnp.concatenate(
        [(difference / unit).ravel(), length / unit, keypoint_scores]
    )
