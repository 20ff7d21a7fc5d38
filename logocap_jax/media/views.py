"""The pictures that show the people found in an image, and the layers behind them."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.evaluation.results import to_image
from logocap_jax.methods.base import MapLayer, PatchLayer, PointLayer
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Explained
from logocap_jax.visualization.maps import draw_maps
from logocap_jax.visualization.patches import Patches, draw_patch_rows
from logocap_jax.visualization.samples import Samples

# Views of poses; all others are names of layers.
POSE_VIEWS = ("refined", "initial")

# People whose patches are drawn: in an image at most, in a film's frames.
_MAX_PEOPLE = 12
_PEOPLE_OF_FILM = 4

_Drawn = UInt8[np.ndarray, "H2 W2 3"]


def check_views(views: Collection[str], layers: Mapping[str, type]) -> None:
    """Check names of views.

    Raises:
      ValueError: lists the views that there are.
    """
    known = (*POSE_VIEWS, *layers)
    if unknown := sorted(set(views) - set(known)):
        raise ValueError(f"--draw: got {unknown}, expected some of {', '.join(known)}")


def draw_views(
    views: Collection[str],
    pixels: UInt8[np.ndarray, "H W 3"],
    poses: Poses,
    explained: Explained | None = None,
    *,
    labels: Sequence[str] | None = None,
    film: bool = False,
) -> Iterator[tuple[str, _Drawn]]:
    """Draw pictures of one image.

    Args:
      views: of `POSE_VIEWS`, which share a picture on which the initial poses are
        thin, and names of layers.
      pixels: the image, RGB.
      poses: the people in it.
      explained: the same people, with the layers.
      labels: texts to write above the poses instead of their scores.
      film: all pictures of one view are of one size, whoever is in them.

    Yields:
      A suffix for the file's name, empty for that of the poses, and the picture.
    """
    if shown := set(POSE_VIEWS) & set(views):
        drawn = poses if "refined" in views else poses.before_refinement()
        both = len(shown) == len(POSE_VIEWS)
        smallest = 1 if film else 512  # px; a film keeps its size
        yield "", drawn.draw(pixels, initial=both, labels=labels, min_side=smallest)
    if explained is None:
        return
    for name, layer in explained.layers.items():
        if name in views and isinstance(layer, MapLayer):
            yield name, _draw_maps(pixels, layer, explained.input_to_image)
        elif name in views:
            yield name, _draw_patches(pixels, explained, name, labels, film)


def patches_of(explained: Explained, name: str, person: int) -> Patches | Samples:
    """What a layer holds of one of the people; it must not be one of maps."""
    layer, poses = explained.layers[name], explained.poses
    if isinstance(layer, PointLayer):
        points, middle = (
            to_image(np.asarray(places[person]), explained.input_to_image)
            for places in (layer.points, layer.middles)
        )
        return Samples(points, middle, poses.keypoints[person])
    assert isinstance(layer, PatchLayer)
    return Patches(
        np.asarray(layer.values[person]),
        poses.before_refinement().keypoints[person],
        np.array(layer.radius) * explained.input_to_image[0, 0],
        poses.keypoints[person],
    )


def _draw_maps(
    pixels: UInt8[np.ndarray, "H W 3"],
    layer: MapLayer,
    input_to_image: Float[np.ndarray, "2 3"],
) -> _Drawn:
    cell_to_image = input_to_image.astype(np.float64)
    cell_to_image[:, 2] += cell_to_image[:, :2] @ np.full(2, layer.cells.middle)
    cell_to_image[:, :2] *= layer.cells.stride
    return draw_maps(pixels, np.asarray(layer.values), cell_to_image, names=layer.names)


def _draw_patches(
    pixels: UInt8[np.ndarray, "H W 3"],
    explained: Explained,
    name: str,
    labels: Sequence[str] | None,
    film: bool,
) -> _Drawn:
    poses = explained.poses
    labels = labels or [str(number) for number in range(1, len(poses) + 1)]
    people = [patches_of(explained, name, person) for person in range(len(poses))]
    return draw_patch_rows(
        poses.draw(pixels, labels=labels),
        pixels,
        people,
        labels=labels,
        skeleton=poses.skeleton,
        rows=_PEOPLE_OF_FILM if film else min(len(people), _MAX_PEOPLE),
    )
