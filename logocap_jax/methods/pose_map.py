"""Pose maps: for every cell the pose that its offsets point to.

Shared by the methods of `../shared/siblings/dekr/spec.md`; specification, 1 to 4 and 7.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from logocap_jax import geometry
from logocap_jax.geometry import STRIDE, CellRule
from logocap_jax.inference import averaging
from logocap_jax.methods.base import TEST_TIME, Stage, Variables
from logocap_jax.methods.dense_config import DenseConfig, require
from logocap_jax.methods.initial_poses import NORMALISATION, normalise
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.outside import valid_mask
from logocap_jax.ops import peaks
from logocap_jax.ops.sampling import sample_grid

CELLS = CellRule(STRIDE, 0.0)
"""Cell `i` lies at input pixel `4 i`, everywhere in these methods."""

Maps = tuple[Array, Array]
"""Heatmaps, and a pose map."""

Windows = tuple[tuple[int, int], ...]
"""Windows of peaks: side, and the mean side of the maps from above which it holds."""

RELEASE_WINDOWS: Windows = ((3, 0), (5, 200), (7, 300))

QUIRKS = ("reference", "fixed")
_FIRST_WIDE = 17  # reference behaviour: from this channel on heatmaps are wide


@dataclasses.dataclass(frozen=True)
class PoseMapConfig(DenseConfig):
    """Settings of heatmaps and pose maps; defaults are the reference's for W32.

    A pose's centre value is above `center_threshold`. Scales are multiples of 0.5.

    Attributes:
      scorer: score poses by the OKS that a net predicts for them.
      quirks: `reference`: slips of the release, which its weights know, are kept;
        `fixed`: they are not.
    """

    center_threshold: float = dataclasses.field(default=0.01, metadata=TEST_TIME)
    scorer: bool = dataclasses.field(default=False, metadata=TEST_TIME)
    quirks: str = "reference"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        nonnegative = ("center_threshold",)
        require(self, nonnegative, lambda value: value >= 0, "0 or more")
        # Inputs are multiples of 64 px, the network's coarsest maps have stride 32.
        expected = "multiples of 0.5, such as (0.5, 1.0, 2.0)"
        require(
            self,
            ("test_scales",),
            lambda scales: all(scale % 0.5 == 0 for scale in scales),
            expected,
        )
        require(self, ("quirks",), QUIRKS.__contains__, f"one of {QUIRKS}")

    @property
    def is_reference(self) -> bool:
        """Slips of the release are kept."""
        return self.quirks == "reference"

    @property
    def scales(self) -> tuple[float, ...]:
        """All scales, the largest first."""
        return tuple(sorted(map(float, self.test_scales), reverse=True))

    @property
    def other_scales(self) -> tuple[float, ...]:
        """The scales other than 1, the largest first."""
        return tuple(scale for scale in self.scales if scale != 1)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Sigma of each keypoint's heatmap and, last, of the centre's.

        Reference behaviour: heatmaps from number 17 on have the centre's, so that with
        fewer keypoints than COCO's the centre has that of keypoints (specification, 9).
        """
        count = self.skeleton.num_keypoints
        first = _FIRST_WIDE if self.is_reference else count
        return tuple(
            self.heatmap_sigma if i < first else self.center_sigma
            for i in range(count + 1)
        )


def input_stages(
    config: PoseMapConfig,
    *,
    repeat_border: bool,
    shifts: tuple[int, ...] = (STRIDE - 1,),
) -> tuple[Stage, ...]:
    """The stages from images to the network's inputs: `inputs` and `input_sizes`.

    Args:
      config: settings.
      repeat_border: as for `moved_mirror`.
      shifts: of the mirror images, px, one for each stride of maps.
    """

    def mirror(
        _: Variables, image: Array, sizes: Array | None
    ) -> tuple[Array, Array | None]:
        """The images, and behind them their mirror images."""
        if not config.flip_test:
            return image, sizes
        width = None if sizes is None else sizes[:, 1]
        move = partial(moved_mirror, image, width, repeat_border=repeat_border)
        mirrored = [move(shift=shift) for shift in shifts]
        all_sizes = None if sizes is None else jnp.tile(sizes, (1 + len(shifts), 1))
        return jnp.concatenate([image, *mirrored]), all_sizes

    inputs = ("inputs", "input_sizes")
    return (
        NORMALISATION,
        Stage("mirror image", ("input", "valid_size"), inputs, mirror),
    )


def flip_stage(
    config: PoseMapConfig, *, heatmap_shift: int = 0, pose_shift: float = 0.0
) -> Stage:
    """The stage from raw maps to the heatmaps and the pose map of each image.

    Args:
      config: settings.
      heatmap_shift: the mirror image's heatmaps are moved right by so many cells; the
        first columns stay.
      pose_shift: added to x of its poses, cells.
    """

    def merge(
        _: Variables, heatmaps: Array, offsets: Array, sizes: Array | None
    ) -> tuple[Array, Array]:
        pose_map = to_pose_map(offsets)
        if not config.flip_test:
            return heatmaps, pose_map
        width = None if sizes is None else sizes[:, 1] // STRIDE
        flip_index, count = config.skeleton.flip_index, heatmaps.shape[0] // 2
        maps = averaging.mirror_heatmaps(heatmaps[count:], flip_index, width)
        if heatmap_shift:
            moved = maps[:, :, :-heatmap_shift]
            maps = jnp.concatenate([maps[:, :, :heatmap_shift], moved], axis=2)
        poses = mirror_pose_map(pose_map[count:], flip_index, width)
        poses += jnp.asarray([pose_shift, 0.0])
        return (heatmaps[:count] + maps) / 2, (pose_map[:count] + poses) / 2

    reads = ("heatmaps_raw", "offsets_raw", "valid_size")
    return Stage("flip merge", reads, ("heatmaps", "pose_map"), merge)


def scale_stages(stages: tuple[Stage, ...], config: PoseMapConfig) -> tuple[Stage, ...]:
    """The stages of the other scales, if there are any.

    Args:
      stages: those that lead from `input` to `heatmaps` and `pose_map`.
      config: settings.

    Returns:
      Stages from `scaled`, images at `other_scales`, to `scaled_input`, those
      normalised, and `scaled_maps`, heatmaps and pose map of each.
    """
    scales = config.other_scales

    def run(
        variables: Variables, inputs: tuple[Array, ...], sizes: Array | None
    ) -> tuple[tuple[Maps, ...]]:
        def maps(image: Array, scale: float) -> Maps:
            given = {"input": image, "valid_size": scale_size(sizes, scale)}
            found = run_stages(stages, variables, given, ("heatmaps", "pose_map"))
            return found["heatmaps"], found["pose_map"]

        return (tuple(map(maps, inputs, scales)),)

    if not scales:
        return ()
    reads = ("scaled_input", "valid_size")
    return (
        other_inputs_stage(scales),
        Stage("other scales", reads, ("scaled_maps",), run),
    )


def other_inputs_stage(scales: tuple[float, ...]) -> Stage:
    """The stage from `scaled`, images at further scales, to `scaled_input`."""

    def normalise_all(
        _: Variables, scaled: tuple[Array, ...]
    ) -> tuple[tuple[Array, ...]]:
        if len(scaled) != len(scales):
            raise ValueError(
                f"test_scales: got images at {len(scaled)} scales beside 1, expected "
                f"them at {scales}"
            )
        return (tuple(map(normalise, scaled)),)

    return Stage("other inputs", ("scaled",), ("scaled_input",), normalise_all)


def gather_stage(config: PoseMapConfig) -> Stage:
    """The stage that puts the maps of all scales in one list, the largest scale first.

    It reads `heatmaps`, `pose_map` and, of other scales, `scaled_maps`, and writes
    `all_heatmaps` and `all_pose_maps`, tuples in the order of `scales`.
    """

    def gather(
        _: Variables, heatmaps: Array, poses: Array, scaled: tuple[Maps, ...] = ()
    ) -> tuple[tuple[Array, ...], ...]:
        maps = dict(zip(config.other_scales, scaled, strict=True))
        maps[1.0] = (heatmaps, poses)
        return tuple(zip(*(maps[scale] for scale in config.scales), strict=True))

    scaled = ("scaled_maps",) if config.other_scales else ()
    reads = ("heatmaps", "pose_map", *scaled)
    return Stage("all scales", reads, ("all_heatmaps", "all_pose_maps"), gather)


def scale_size(
    sizes: Int[Array, "*B 2"] | None, scale: float
) -> Int[Array, "*B 2"] | None:
    """Valid sizes, multiples of 64 px, at another scale."""
    return None if sizes is None else sizes * round(2 * scale) // 2


def moved_mirror(
    image: Float[Array, "B H W C"],
    width: Int[Array, " B"] | None = None,
    *,
    shift: int = STRIDE - 1,
    repeat_border: bool,
) -> Float[Array, "B H W C"]:
    """Mirror images and move them left, so that cells mirror onto cells.

    With a shift of `stride - 1`, cell `i` of the mirror image is cell `w - 1 - i`
    (specification, 7 and 12).

    Args:
      image: normalised.
      width: valid columns of each image, from the first on; None: all.
      shift: px.
      repeat_border: the last `shift` columns keep the mirror image that has not been
        moved (reference behaviour: it is moved in place); else they are 0.
    """
    columns = jnp.arange(image.shape[2])

    def move(image: Array, width: Any) -> Array:
        mirrored = width - 1 - columns
        inside = mirrored >= shift
        moved = jnp.take(image, jnp.where(inside, mirrored - shift, mirrored), axis=1)
        return moved if repeat_border else jnp.where(inside[:, None], moved, 0)

    if width is None:
        return jax.vmap(lambda image: move(image, image.shape[1]))(image)
    return jax.vmap(move)(image, width)


def to_pose_map(offsets: Float[Array, "B h w K 2"]) -> Float[Array, "B h w K 2"]:
    """The keypoints that each cell's offsets point to, in cells: `cell - offset`."""
    return geometry.grid(*offsets.shape[1:3])[:, :, None] - offsets


def mirror_pose_map(
    pose_map: Float[Array, "B h w K 2"],
    flip_index: Int[np.ndarray, " K"],
    width: Int[Array, " B"] | None = None,
) -> Float[Array, "B h w K 2"]:
    """Mirror pose maps: the cells, their keypoints, and left and right."""
    mirrored = averaging.mirror(pose_map, width)[..., flip_index, :]
    last = pose_map.shape[2] - 1 if width is None else width[:, None, None, None] - 1
    return jnp.stack([last - mirrored[..., 0], mirrored[..., 1]], axis=-1)


def find_centers(
    center_map: Float[Array, "h w"],
    valid_cells: Int[Array, "2"] | None = None,
    *,
    count: int,
    threshold: float,
    windows: Windows = RELEASE_WINDOWS,
) -> tuple[Float[Array, "N 2"], Float[Array, " N"], Bool[Array, " N"]]:
    """The highest peaks of a centre map (specification, 4).

    Args:
      center_map: in cells.
      valid_cells: height and width of the image in it; None: all.
      count: N.
      threshold: of valid centres' values, which are above it.
      windows: of the peaks.

    Returns:
      Cells `(x, y)`, values, highest first, and which are valid.
    """
    height, width = center_map.shape
    around = jnp.asarray(height + width)
    if valid_cells is not None:
        around = jnp.sum(valid_cells)
        center_map = jnp.where(valid_mask(valid_cells, height, width), center_map, 0)
    maxima = jnp.zeros_like(center_map)
    for window, least in windows:
        if not isinstance(height + width, int) or (height + width) / 2 > least:
            larger = peaks.local_maxima(center_map, window)
            maxima = jnp.where(around > 2 * least, larger, maxima)
    cells, values = peaks.top_cells(maxima, count)
    return cells, values, values > threshold


def upsample(
    maps: Float[Array, "h w C"],
    size: tuple[int, int],
    valid_cells: Int[Array, "2"] | None = None,
    *,
    scale: float = 1.0,
) -> Float[Array, "H W C"]:
    """Bring maps to input px of scale 1; edges are repeated (specification, 4).

    Args:
      maps: in cells of an input at a scale.
      size: height and width of the input at scale 1, px.
      valid_cells: height and width of the image in the maps; None: all.
      scale: of the input.
    """
    rows, columns = (jnp.arange(side) * (scale / STRIDE) for side in size)
    height, width, _ = maps.shape
    sides = (height, width) if valid_cells is None else valid_cells
    return sample_grid(maps, rows, columns, sides)


def read_upsampled(
    maps: Float[Array, "h w C"],
    pixels: Float[Array, "N K 2"],
    valid_cells: Int[Array, "2"] | None = None,
    *,
    scale: float = 1.0,
) -> Float[Array, "N K"]:
    """The values of `upsample` at whole pixels `(x, y)`, a keypoint's in its map."""
    sides = jnp.asarray(maps.shape[:2] if valid_cells is None else valid_cells)
    last = (sides - 1)[::-1]
    return read_between(maps, jnp.minimum(pixels * (scale / STRIDE), last), sides)


def read_between(
    maps: Float[Array, "h w C"],
    position: Float[Array, "N K 2"],
    valid_cells: Int[Array, "2"],
) -> Float[Array, "N K"]:
    """The bilinear values of maps at positions `(x, y)`, a keypoint's in its map.

    Args:
      maps: in cells; a keypoint's is that of its number.
      position: in cells, beyond the border that of the nearest cell.
      valid_cells: height and width of the image in the maps.
    """
    last = (valid_cells - 1)[::-1]
    position = jnp.clip(position, 0, last)
    lower = jnp.floor(position)
    share = position - lower
    channels = jnp.arange(position.shape[1])

    def corner(x: int, y: int) -> Array:
        cell = jnp.minimum(lower.astype(jnp.int32) + jnp.array([x, y]), last)
        weight = jnp.where(jnp.array([x, y]), share, 1 - share)
        value = maps[cell[..., 1], cell[..., 0], channels]
        return jnp.prod(weight, axis=-1) * value

    return sum(corner(x, y) for x in (0, 1) for y in (0, 1))  # type: ignore[return-value]
