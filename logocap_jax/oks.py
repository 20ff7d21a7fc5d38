"""Object keypoint similarity (OKS)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def keypoint_similarity(
    points: Float[Array, "*prefix K 2"],
    truth: Float[Array, "K 2"],
    area: Float[Array, ""],
    sigmas: Float[Array, " K"],
) -> Float[Array, "*prefix K"]:
    """How alike keypoints are to those of one person, by COCO's measure.

    `exp(-d^2 / (2 (2 s_k)^2 area))`. Invariant under similarity transforms, so any
    frame will do as long as `points`, `truth` and `area` share it.

    Args:
      points: keypoints of any number of poses.
      truth: the person's keypoints.
      area: the person's area, in the square of the points' unit.
      sigmas: per-keypoint standard deviations.

    Returns:
      One similarity in 0..1 per keypoint.
    """
    squared_distance = jnp.sum(jnp.square(points - truth), axis=-1)
    return jnp.exp(-squared_distance / (2 * jnp.square(2 * sigmas) * area))
