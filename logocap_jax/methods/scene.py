"""Dense maps of a chosen number of people, to measure what follows them."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.base import Scene
from logocap_jax.methods.initial_poses import InitialPosesConfig

# Width of the drawn peaks, cells: narrower than the distance between people.
_SIGMA = 1.0
# Off the cell's middle, or a centre would upsample to four equal peaks.
_FRACTION = 0.3


def make_scene(config: InitialPosesConfig, *, embedding: int = 0) -> Scene:
    """Scenes of dense maps, which replace those of `initial_poses.dense_stages`.

    Args:
      config: settings.
      embedding: D, channels of the embedding.
    """
    num_keypoints = config.skeleton.num_keypoints

    def draw(people: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        height, width = (side // STRIDE for side in size)
        return draw_maps(
            people,
            height=height,
            width=width,
            num_keypoints=num_keypoints,
            embedding=embedding,
        )

    return Scene(config.num_slots, draw)


def draw_maps(
    people: int,
    *,
    height: int,
    width: int,
    num_keypoints: int,
    embedding: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draw the dense maps of one image, as a confident network would predict them.

    People stand on a grid, each with a clear centre, keypoints around it, and offsets
    that point to them; the embedding is noise.

    Args:
      people: number of people.
      height: h, cells.
      width: w, cells.
      num_keypoints: K.
      embedding: D.
      seed: of the noise.

    Returns:
      The arrays of `structures.DenseMaps` by name, without a batch axis.

    Raises:
      ValueError: if the maps are too small for so many people.
    """
    rng = np.random.default_rng(seed)
    drawn = draw_people(people, height=height, width=width, num_keypoints=num_keypoints)
    # `center - offset` is the keypoint wherever in the person's region it is read.
    offsets = drawn.points[:, -1:] - drawn.points[:, :-1]
    maps: dict[str, Any] = {
        "heatmaps": drawn.heatmaps,
        "offsets": offsets[drawn.owner],  # [h, w, K, 2]
        "embedding": rng.standard_normal((height, width, embedding)),
    }
    return {name: x.astype(np.float32) for name, x in maps.items()}


class DrawnPeople(NamedTuple):
    """People of one image, in cells.

    Attributes:
      heatmaps: the pose centre's last.
      points: keypoints and, last, the centre of each person.
      owner: number of the nearest person.
    """

    heatmaps: Float[np.ndarray, "h w K1"]
    points: Float[np.ndarray, "P K1 2"]
    owner: Int[np.ndarray, "h w"]


def draw_people(
    people: int, *, height: int, width: int, num_keypoints: int
) -> DrawnPeople:
    """Draw people on a grid, their keypoints in a circle around their centres.

    Raises:
      ValueError: if the maps are too small for so many people.
    """
    centers, reach = _grid(people, height, width)
    turns = np.linspace(0, 2 * np.pi, num_keypoints, endpoint=False)
    around = reach * np.stack([np.cos(turns), np.sin(turns)], axis=-1)  # [K, 2]
    keypoints = centers[:, None] + around  # [P, K, 2]
    points = np.concatenate([keypoints, centers[:, None]], axis=1)  # [P, K1, 2]
    y, x = np.arange(height), np.arange(width)
    rows, columns = _profile(y - points[..., 1:]), _profile(x - points[..., :1])
    heatmaps = np.max(rows[..., :, None] * columns[..., None, :], axis=0)
    cells = np.stack(np.meshgrid(x, y), axis=-1)  # [h, w, 2]
    distances = np.linalg.norm(cells[:, :, None] - centers, axis=-1)  # [h, w, P]
    owner = np.argmin(distances, axis=-1)
    return DrawnPeople(np.moveaxis(heatmaps, 0, -1), points, owner)


def _profile(distance: Float[np.ndarray, "P K1 n"]) -> Float[np.ndarray, "P K1 n"]:
    """A Gaussian that is 0 from some distance on.

    At a map's border upsampled values come in pairs, and any value is a peak there.
    """
    value = np.exp(-np.square(distance) / (2 * _SIGMA**2))
    return np.where(np.abs(distance) < 2.5 * _SIGMA, value, 0)


def _grid(
    people: int, height: int, width: int
) -> tuple[Float[np.ndarray, "P 2"], float]:
    """Centres in cells, and the radius of the room for keypoints around them."""
    columns = math.ceil(math.sqrt(people * width / height))
    rows = math.ceil(people / columns)
    pitch = min(width // columns, height // rows)
    if people < 1 or pitch < 8 * _SIGMA:
        raise ValueError(
            f"got {people} people, expected 1 or more, and at least {8 * _SIGMA:.0f} "
            f"cells for each on {width} x {height} cells"
        )
    row, column = np.divmod(np.arange(people), columns)
    places = np.stack([column, row], axis=-1)
    return pitch * places + pitch // 2 + _FRACTION, pitch / 4
