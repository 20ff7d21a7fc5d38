"""Absorption: keypoints move to the nearest peak of their heatmap."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.ops.peaks import local_maxima, top_cells


class Candidates(NamedTuple):
    """Places that keypoints may move to.

    Attributes:
      points: `(x, y)`, whole input px.
      values: of the heatmap there.
    """

    points: Float[Array, "K C 2"]
    values: Float[Array, "K C"]


class Absorbed(NamedTuple):
    """Keypoints after absorption.

    Attributes:
      keypoints: input px.
      values: heat values, which scores are made of.
      moved: keypoints that took a candidate's place.
    """

    keypoints: Float[Array, "N K 2"]
    values: Float[Array, "N K"]
    moved: Bool[Array, "N K"]


def find_candidates(
    heatmaps: Float[Array, "H W K"],
    valid_size: Int[Array, "2"] | None = None,
    *,
    count: int = 30,
) -> Candidates:
    """The highest 5 x 5 maxima of each heatmap (specification, 8.3 and 18).

    Pixels that are no maxima count as 0: of a map with too few maxima the first of them
    are candidates, of value 0 (reference behaviour; which of them it takes is open).

    Args:
      heatmaps: of one image, in input px.
      valid_size: height and width of the image in them; None: all.
      count: C.
    """
    height, width, _ = heatmaps.shape
    rows, columns = (height, width) if valid_size is None else valid_size
    inside = (jnp.arange(height) < rows)[:, None] & (jnp.arange(width) < columns)

    def find(heatmap: Array) -> tuple[Array, Array]:
        maxima = local_maxima(jnp.where(inside, heatmap, 0), window=5)
        return top_cells(jnp.where(inside, maxima, -1), count)

    return Candidates(*jax.vmap(find, in_axes=2)(heatmaps))


def absorb(
    keypoints: Float[Array, "N K 2"],
    heatmaps: Float[Array, "H W K"],
    candidates: Candidates,
    valid_size: Int[Array, "2"] | None = None,
    *,
    reach: float = 75.0,
    threshold: float = 0.0,
    quirks: str = "reference",
) -> Absorbed:
    """Move keypoints to their nearest candidates (specification, 8.3).

    Two poses may take the same candidate; of candidates as near the first is taken.

    Args:
      keypoints: poses of one image, input px.
      heatmaps: of the image, in input px; read where a keypoint stays.
      candidates: of `find_candidates`.
      valid_size: height and width of the image in the heatmaps; None: all.
      reach: a keypoint moves if its candidate is nearer than this, px.
      threshold: candidates of no larger value are weak.
      quirks: `reference`: a weak candidate counts, with value 0, and the heatmap is
        read with x and y exchanged; `fixed`: a weak candidate is left out, and the
        heatmap is read at the keypoint.
    """
    weak = candidates.values <= threshold
    difference = keypoints[:, :, None] - candidates.points  # [N, K, C, 2]
    distance = jnp.sqrt(jnp.sum(difference**2, axis=-1))
    if quirks == "fixed":
        distance = jnp.where(weak, jnp.inf, distance)
    nearest = jnp.argmin(distance, axis=-1)  # [N, K]
    moved = jnp.min(distance, axis=-1) < reach

    size = jnp.asarray(heatmaps.shape[:2] if valid_size is None else valid_size)
    column_row = keypoints.astype(jnp.int32)
    row_column = column_row if quirks == "reference" else column_row[..., ::-1]
    row, column = jnp.moveaxis(jnp.clip(row_column, 0, size - 1), -1, 0)
    kind = jnp.arange(keypoints.shape[1])
    return Absorbed(
        jnp.where(moved[..., None], candidates.points[kind, nearest], keypoints),
        jnp.where(
            moved,
            jnp.where(weak, 0, candidates.values)[kind, nearest],
            heatmaps[row, column, kind],
        ),
        moved,
    )
