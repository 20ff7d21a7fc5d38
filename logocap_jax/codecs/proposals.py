"""One person's keypoints as proposals of cells: targets, and decoding.

Specification of spatial-aware regression, 3 to 5.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.codecs.heatmap import gaussian_at
from logocap_jax.geometry import grid
from logocap_jax.ops.proposals import weigh

SIGMA = 3.0  # of heatmap targets, in cells
RADIUS = 9  # of the square that holds one, in cells


def propose(offsets: Float[Array, "h w K 2"]) -> Float[Array, "h w K 2"]:
    """Proposals of all cells, in units of the map's width and height.

    A cell lies at its index over the size, without a half cell; its offset, in the same
    units, is taken off (specification, 2).
    """
    height, width = offsets.shape[:2]
    size = jnp.array([width, height], jnp.float32)
    return (grid(height, width) / size)[:, :, None] - offsets


def nearest_cell(points_cell: Float[Array, "*n 2"]) -> Int[Array, "*n 2"]:
    """`int(x + 0.5)`, towards 0: from -0.6 it is cell 0 (reference behaviour)."""
    return jnp.trunc(points_cell + 0.5).astype(jnp.int32)


def is_near(
    points_cell: Float[Array, "*n 2"], *, height: int, width: int
) -> Bool[Array, "*n"]:
    """Mask of the keypoints whose square touches the map; others are not learned.

    Reference behaviour: on the left and above the square may end one cell before it.
    """
    cells = nearest_cell(points_cell)
    size = jnp.array([width, height])
    return jnp.all((cells - RADIUS < size) & (cells + RADIUS + 1 >= 0), axis=-1)


def encode_heatmap(
    point_cell: Float[Array, "2"], *, height: int, width: int
) -> Float[Array, "{height} {width}"]:
    """A Gaussian around the cell of one keypoint, on its square, 0 elsewhere."""
    cell = nearest_cell(point_cell)
    x, y = (
        jnp.abs(jnp.arange(size) - at) <= RADIUS
        for size, at in zip((width, height), cell, strict=True)
    )
    value = gaussian_at(
        cell.astype(jnp.float32), height=height, width=width, sigma=SIGMA
    )
    return jnp.where(y[:, None] & x, value, 0)


def decode(
    logits: Float[Array, "h w K"], proposals: Float[Array, "h w K 2"]
) -> tuple[Float[Array, "K 2"], Float[Array, " K"]]:
    """The proposal of the most confident cell, and its weight, of each keypoint.

    Of cells that are equally confident in float32 the first in row order counts.
    """

    def pick(logits: Array, points: Array) -> tuple[Array, Array]:
        confidence = jax.nn.sigmoid(logits)
        # Reference behaviour: compared after division, which makes more of them equal.
        share = confidence / jnp.maximum(jnp.sum(confidence), 1e-30)
        best = jnp.argmax(share)
        return points[best], weigh(logits)[best]

    count = logits.shape[-1]
    return jax.vmap(pick, in_axes=(1, 1))(
        logits.reshape(-1, count), proposals.reshape(-1, count, 2)
    )


def decode_highest(
    heatmaps: Float[Array, "h w K"],
) -> tuple[Float[Array, "K 2"], Float[Array, " K"]]:
    """The highest cell of each heatmap, in units of the map's sides, and its value.

    It is moved by a quarter of a cell along x and y towards the higher neighbour, but
    not at the border.
    """
    height, width, _ = heatmaps.shape

    def pick(heatmap: Array) -> tuple[Array, Array]:
        y, x = jnp.divmod(jnp.argmax(heatmap), width)

        def lean(row: Array, at: Array) -> Array:
            inside = (at > 0) & (at < row.shape[0] - 1)
            after, before = (
                row[jnp.clip(at + i, 0, row.shape[0] - 1)] for i in (1, -1)
            )
            return jnp.where(inside, 0.25 * jnp.sign(after - before), 0)

        moved = jnp.stack([x + lean(heatmap[y], x), y + lean(heatmap[:, x], y)])
        return moved / jnp.array([width, height]), heatmap[y, x]

    return jax.vmap(pick, in_axes=2)(heatmaps)


def average_mirrored(
    points: Float[Array, "K 2"],
    scores: Float[Array, " K"],
    mirrored: Float[Array, "K 2"],
    mirrored_scores: Float[Array, " K"],
    *,
    flip_index: tuple[int, ...],
    shift: float,
) -> tuple[Float[Array, "K 2"], Float[Array, " K"]]:
    """Average keypoints with those found in the mirror image.

    Args:
      points: in units of the input's sides.
      scores: of them.
      mirrored: as found in the mirror image, left and right not swapped.
      mirrored_scores: of them.
      flip_index: keypoint -> the one on the other side.
      shift: one input px, in units of the input's width: pixel `x` of the mirror image
        is `W - 1 - x`.
    """
    index = jnp.asarray(flip_index)
    back = mirrored.at[:, 0].set(1 - mirrored[:, 0] - shift)[index]
    return (points + back) / 2, (scores + mirrored_scores[index]) / 2
