"""Pose suppression: of poses that lie on each other, keep the best."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax.structures import Poses


def suppress(poses: Poses, *, closeness: float = 0.05, share: float = 0.5) -> Poses:
    """Suppress duplicates among the poses of one image (reference behaviour).

    Poses are walked in their order. One already absorbed is skipped; of the poses
    that a pose overlaps with (itself among them) the best-scored one is kept,
    unless it was absorbed before, and all of them are absorbed. Nothing here
    depends on the unit of the coordinates.

    Args:
      poses: poses of one image, best centre first.
      closeness: keypoints are close below this share of the diagonal of the
        walking pose's keypoint box.
      share: poses overlap when more than this share of their keypoints is close
        (8 of COCO's 17, rounded down).

    Returns:
      The poses kept, in the order of the walk; `valid` tells them from the rest.
    """
    overlap = _overlaps(poses, closeness, share)
    count = poses.scores.shape[0]
    scores = jnp.where(overlap & poses.valid, poses.scores, -jnp.inf)
    best = jax.nn.one_hot(jnp.argmax(scores, axis=1), count, dtype=bool) & overlap

    def walk(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        kept_at, absorbed = state
        skip = absorbed[i] | ~poses.valid[i]
        return (
            jnp.where(best[i] & ~absorbed & ~skip, i, kept_at),
            jnp.where(skip, absorbed, absorbed | overlap[i]),
        )

    never = jnp.full(count, count)
    start = (never, jnp.zeros(count, bool))
    kept_at, _ = jax.lax.fori_loop(0, count, walk, start)
    order = jnp.argsort(kept_at)
    return jax.tree.map(
        lambda x: x[order], dataclasses.replace(poses, valid=kept_at < count)
    )


def _overlaps(poses: Poses, closeness: float, share: float) -> Bool[Array, "N N"]:
    """Whether pose j (column) lies on pose i (row), by the size of pose i."""
    points = poses.keypoints
    box = jnp.max(points, axis=1) - jnp.min(points, axis=1)  # [N, 2]
    diagonal = jnp.sqrt(jnp.sum(jnp.square(box), axis=-1))  # [N]
    distance = _distances(points)  # [N, N, K]
    close = distance < closeness * diagonal[:, None, None]
    enough = int(share * points.shape[1])
    overlap = jnp.sum(close, axis=-1) > enough
    both = poses.valid[:, None] & poses.valid[None, :]
    return overlap & both


def _distances(points: Float[Array, "N K 2"]) -> Float[Array, "N N K"]:
    difference = points[:, None] - points[None, :]
    return jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1))
