"""Which cell of a pose's window is read: a selector, trained with its offsets.

Our own proposal, published by nobody: spatial-aware regression (specification, 7) on a
centre and its offsets. Every cell of a window proposes a pose; the loss lets them learn
both to be good and to be chosen.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from logocap_jax import geometry, losses
from logocap_jax.geometry import STRIDE
from logocap_jax.inference import averaging
from logocap_jax.methods.base import Stage, Variables
from logocap_jax.methods.dense_config import DenseConfig, require
from logocap_jax.methods.targets import LossRules, people_points
from logocap_jax.ops.proposals import quality
from logocap_jax.structures import Batch

SELECTORS = ("pose", "keypoint")
_LEAST_LENGTH = 8.0  # of a kernel, in cells


@dataclasses.dataclass(frozen=True)
class SelectorConfig(DenseConfig):
    """Settings of a selector; by default there is none.

    Attributes:
      selector: `pose`: the cell that a whole pose is read from; `keypoint`: one for
        each keypoint; None: the cell of the pose's centre.
      selector_length: length of the kernel over the square root of a person's area.
      selector_loss_weight: weight of the selector's loss; None: the offset head gets
        the gradient that it has from the offset loss.
      selector_replaces: train offsets by the selector's loss alone, not by the offset
        loss as well.
    """

    selector: str | None = None
    selector_length: float = 2.0
    selector_loss_weight: float | None = None
    selector_replaces: bool = True

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        kinds = (None, *SELECTORS)
        require(self, ("selector",), kinds.__contains__, f"one of {kinds}")
        require(self, ("selector_length",), lambda value: value > 0, "more than 0")
        require(
            self,
            ("selector_loss_weight",),
            lambda value: value is None or value >= 0,
            "0 or more, or None",
        )

    @property
    def selector_outputs(self) -> int:
        """Channels of the selector's map; 0: there is none."""
        one = {None: 0, "pose": 1, "keypoint": self.skeleton.num_keypoints}
        return one[self.selector]

    @property
    def selector_weight(self) -> float:
        """`selector_loss_weight`, resolved.

        Summed over a window, the offset loss has the gradient `f / (2 sqrt(A))` per
        axis and keypoint, `A` in input px^2, and the selector's `16 F / (b sqrt(a))`,
        `a` in cells^2: equal for `F = f b / (32 STRIDE)`.
        """
        if self.selector_loss_weight is not None:
            return self.selector_loss_weight
        return self.offset_loss_weight * self.selector_length / (32 * STRIDE)


class Window(NamedTuple):
    """Cells around the centre of each person, those of the offset loss."""

    cells: Int[Array, "P T 2"]  #: `(x, y)`, also off the map
    inside: Bool[Array, "P T"]  #: on the map


def windows_around(
    centers_cell: Float[Array, "P 2"],
    radius: int,
    height: int | Int[Array, ""],
    width: int | Int[Array, ""],
) -> Window:
    """Cells `int(c) - radius .. int(c) + radius - 1` of a map, row by row."""
    first = jnp.trunc(centers_cell).astype(jnp.int32) - radius
    steps = geometry.grid(2 * radius, 2 * radius).astype(jnp.int32).reshape(-1, 2)
    cells = first[:, None] + steps
    limit = jnp.stack([jnp.asarray(width), jnp.asarray(height)])
    return Window(cells, jnp.all((cells >= 0) & (cells < limit), axis=-1))


def smallest_owns(
    window: Window, exists: Bool[Array, " P"], area: Float[Array, " P"]
) -> Bool[Array, "P T"]:
    """Mask of the cells of each window that no smaller person's window covers.

    Of equal areas the first person owns a cell.
    """
    order = jnp.argsort(jnp.argsort(jnp.where(exists, area, jnp.inf), stable=True))
    first, last = window.cells[:, 0], window.cells[:, -1]
    cells = window.cells[:, :, None]
    covers = jnp.all((cells >= first) & (cells <= last), axis=-1) & exists  # [P, T, P]
    is_smaller = order < order[:, None]
    taken = jnp.any(covers & is_smaller[:, None], axis=-1)
    return window.inside & exists[:, None] & ~taken


def window_terms(
    logits: Float[Array, "T C"],
    proposals: Float[Array, "T K 2"],
    target: Float[Array, "K 2"],
    labelled: Bool[Array, " K"],
    mask: Bool[Array, " T"],
    length: Float[Array, "..."],
) -> tuple[Float[Array, " C"], Bool[Array, " C"]]:
    """The spatial-aware loss of one person's window.

    Args:
      logits: of each keypoint's selector, or one of the whole pose.
      proposals: keypoints that each cell points to.
      target: keypoints of the person, in the same unit.
      labelled: which of them exist.
      mask: cells that take part.
      length: of the kernel, `[2]` along x and y, or one of both.

    Returns:
      One term per selector, and which of them count.
    """
    target = jnp.where(labelled[:, None], target, 0)
    error = jnp.sum(jnp.abs(proposals - target) / length, axis=-1)  # [T, K]
    counts = labelled & jnp.any(mask)
    if logits.shape[1] != labelled.shape[0]:
        total = jnp.sum(jnp.where(labelled, error, 0), axis=1, keepdims=True)
        error = total / jnp.maximum(jnp.sum(labelled), 1)
        counts = jnp.any(counts)[None]
    masks = jnp.broadcast_to(mask[:, None], logits.shape)
    return losses.expected_quality(logits, quality(error), masks), counts


def selector_loss(
    logits: Float[Array, "B h w C"],
    offsets: Float[Array, "B h w K 2"],
    batch: Batch,
    rules: LossRules,
    config: SelectorConfig,
) -> Float[Array, ""]:
    """The mean of `window_terms` over the people of a batch, 0 without any.

    Args:
      logits: predictions of the selector.
      offsets: predictions, `cell - keypoint`, in cells.
      batch: ground truth.
      rules: where centres of people are.
      config: settings.
    """

    def example_terms(
        logits: Array, offsets: Array, example: Batch
    ) -> tuple[Array, Array]:
        height, width = logits.shape[:2]
        points, exists = people_points(example, rules, STRIDE)
        centers, labelled = points[:, -1], exists[:, :-1]
        centered = exists[:, -1] & geometry.contains(centers, height, width)
        # Elsewhere they may be any number.
        centers = jnp.where(centered[:, None], centers, 0)
        window = windows_around(centers, config.offset_radius, height, width)
        mask = smallest_owns(window, centered, example.area)
        x, y = jnp.moveaxis(window.cells, -1, 0)
        x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
        found = window.cells[:, :, None] - offsets[y, x]
        side = jnp.sqrt(example.area) / STRIDE
        length = jnp.maximum(_LEAST_LENGTH, config.selector_length * side)
        args = (logits[y, x], found, points[:, :-1], labelled, mask, length)
        return jax.vmap(window_terms)(*args)

    terms, counts = jax.vmap(example_terms)(logits, offsets, batch)
    total = jnp.sum(jnp.where(counts, terms, 0))
    return total / jnp.maximum(jnp.sum(counts), 1)


def with_selector(
    terms: dict[str, Float[Array, ""]],
    logits: Float[Array, "B h w C"] | None,
    offsets: Float[Array, "B h w K 2"],
    batch: Batch,
    rules: LossRules,
    config: SelectorConfig,
) -> dict[str, Float[Array, ""]]:
    """Loss terms with that of the selector, beside or in place of the offsets'.

    Without a selector (`logits` None) they stay as they are.
    """
    if logits is None:
        return terms
    loss = selector_loss(logits, offsets, batch, rules, config)
    kept = {
        name: value
        for name, value in terms.items()
        if name != "offset" or not config.selector_replaces
    }
    return {**kept, "selector": config.selector_weight * loss}


def read_window(
    confidence: Float[Array, "h w C"],
    offsets: Float[Array, "h w K 2"],
    centers_cell: Float[Array, "N 2"],
    *,
    radius: int,
    valid_cells: Int[Array, "2"] | None = None,
) -> Float[Array, "N K 2"]:
    """Keypoints of poses in cells, each from the most confident cell of the window.

    Args:
      confidence: of each keypoint's selector, or one of the whole pose.
      offsets: `cell - keypoint`, in cells.
      centers_cell: of the poses, on the map.
      radius: half the window's side, in cells.
      valid_cells: height and width of the image in the maps; None: all.
    """
    height, width, count = offsets.shape[:3]
    limits = (
        (height, width) if valid_cells is None else (valid_cells[0], valid_cells[1])
    )
    window = windows_around(centers_cell, radius, *limits)
    x, y = jnp.moveaxis(window.cells, -1, 0)
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
    values = jnp.where(window.inside[..., None], confidence[y, x], -jnp.inf)
    best = jnp.broadcast_to(jnp.argmax(values, axis=1), (len(centers_cell), count))
    found = window.cells[:, :, None] - offsets[y, x]  # [N, T, K, 2]
    return jnp.take_along_axis(found, best[:, None, :, None], axis=1)[:, 0]


def read_windows(
    confidence: Float[Array, "B h w C"],
    offsets: Float[Array, "B h w K 2"],
    centers_cell: Float[Array, "B N 2"],
    valid_size: Int[Array, "B 2"] | None,
    radius: int,
) -> Float[Array, "B N K 2"]:
    """`read_window` of each image, whose height and width, px, may be given."""
    cells = None if valid_size is None else valid_size // STRIDE

    def read(confidence: Array, offsets: Array, centers: Array, valid: Any) -> Array:
        maps = (confidence, offsets, centers)
        return read_window(*maps, radius=radius, valid_cells=valid)

    axes = (0, 0, 0, None if cells is None else 0)
    return jax.vmap(read, axes)(confidence, offsets, centers_cell, cells)


def confidence_stage(config: SelectorConfig) -> Stage:
    """The stage from `selector_raw`, of image and mirror image, to `confidence`."""

    def run(_: Variables, logits: Array, sizes: Array | None) -> tuple[Array]:
        width = None if sizes is None else sizes[:, 1] // STRIDE
        index = config.skeleton.flip_index if config.flip_test else None
        return (merge_confidence(logits, flip_index=index, width=width),)

    return Stage("confidence", ("selector_raw", "valid_size"), ("confidence",), run)


def merge_confidence(
    logits: Float[Array, "R h w C"],
    *,
    flip_index: Int[np.ndarray, " K"] | None,
    width: Int[Array, " B"] | None = None,
) -> Float[Array, "B h w C"]:
    """Confidences, averaged with those of the mirror images behind the images.

    Args:
      logits: of images, and of as many mirror images unless `flip_index` is None.
      flip_index: keypoint -> the one on the other side.
      width: valid columns of each image, in cells; None: all.
    """
    confidence = jax.nn.sigmoid(logits)
    if flip_index is None:
        return confidence
    count = len(confidence) // 2
    mirrored = averaging.mirror(confidence[count:], width)
    if mirrored.shape[-1] > 1:
        mirrored = mirrored[..., flip_index]
    return (confidence[:count] + mirrored) / 2
