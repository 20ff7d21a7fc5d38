"""Pose NMS: of poses that lie on each other, keep the best."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.structures import Poses


def suppress(
    poses: Poses, *, closeness: float = 0.05, share: float = 0.5
) -> tuple[Poses, Int[Array, " N"]]:
    """Suppress duplicates among the poses of one image (specification, 8).

    Poses come best centre first, in any unit of length; `closeness` and `share` are as
    for `overlaps`.

    Returns:
      The poses kept, in the order of the walk, then the rest as not `valid`; and for
      each the slot of `poses` that it comes from.
    """
    overlap = overlaps(poses, closeness=closeness, share=share)
    order, kept = select(overlap, poses.scores)
    reordered = jax.tree.map(lambda x: x[order], poses)
    return dataclasses.replace(reordered, valid=kept), order


def select(
    overlap: Bool[Array, "N N"], scores: Float[Array, " N"]
) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """Walk poses in their order and choose the best of each overlap set (row).

    An absorbed pose is skipped. If the best of a pose's overlap set (the first of
    equal ones) was absorbed before, the pose is passed over and nothing is absorbed;
    else the best is kept and the whole set absorbed (reference behaviour).

    Returns:
      The order of the poses, those kept first and in the order of the walk, and which
      of that order are kept.
    """
    count = scores.shape[0]
    rivals = jnp.where(overlap, scores, -jnp.inf)
    best = jax.nn.one_hot(jnp.argmax(rivals, axis=1), count, dtype=bool) & overlap

    def walk(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        kept_at, absorbed = state
        chosen = best[i] & ~absorbed & ~absorbed[i]
        absorbed |= overlap[i] & jnp.any(chosen)
        return jnp.where(chosen, i, kept_at), absorbed

    never = jnp.full(count, count)
    start = (never, jnp.zeros(count, bool))
    kept_at, _ = jax.lax.fori_loop(0, count, walk, start)
    order = jnp.argsort(kept_at)
    return order, kept_at[order] < count


def overlaps(
    poses: Poses, *, closeness: float = 0.05, share: float = 0.5
) -> Bool[Array, "N N"]:
    """Overlap of each pose (row) with the others, measured by its own size.

    Args:
      poses: poses of one image.
      closeness: keypoints are close below this share of the diagonal of the row's
        keypoint box.
      share: poses overlap when more than this share of their keypoints is close
        (8 of COCO's 17, rounded down).

    Returns:
      True where both poses are valid and overlap. A pose overlaps with itself unless
      its keypoints all coincide.
    """
    points = poses.keypoints
    box = jnp.max(points, axis=1) - jnp.min(points, axis=1)  # [N, 2]
    diagonal = jnp.sqrt(jnp.sum(jnp.square(box), axis=-1))  # [N]
    difference = points[:, None] - points[None, :]
    distance = jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1))  # [N, N, K]
    close = distance < closeness * diagonal[:, None, None]
    overlap = jnp.sum(close, axis=-1) > int(share * points.shape[1])
    return overlap & poses.valid[:, None] & poses.valid[None, :]


def coincide(
    poses: Poses, *, distance: float = 10.0, matches: int = 10
) -> Bool[Array, "N N"]:
    """Pairs of poses of one image that are duplicates, whatever their size.

    Args:
      poses: poses of one image.
      distance: keypoints closer than this coincide; in the poses' unit of length.
      matches: duplicates have more coinciding keypoints than this.

    Returns:
      True where both poses are valid and coincide, as each does with itself.
    """
    difference = poses.keypoints[:, None] - poses.keypoints[None, :]
    close = jnp.sqrt(jnp.sum(jnp.square(difference), axis=-1)) < distance
    near = jnp.sum(close, axis=-1) > matches
    return near & poses.valid[:, None] & poses.valid[None, :]


def keep_best(
    order: Int[Array, " M"],
    kept: Bool[Array, " M"],
    scores: Float[Array, " M"],
    count: int,
) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """At most `count` of the poses that `select` keeps.

    Of more than that the best, in the order of their scores; else all, in the order of
    the walk (reference behaviour).

    Args:
      order: of `select`.
      kept: of `select`.
      scores: of the poses, before `select`.
      count: N, at most M.
    """
    key = jnp.where(jnp.sum(kept) > count, -scores[order], 0)
    chosen = jnp.argsort(jnp.where(kept, key, jnp.inf))[:count]
    return order[chosen], kept[chosen]
