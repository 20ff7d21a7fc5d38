"""The pictures that tell what was found in an image, and why."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from logocap_jax.predictor.explainer import Explained
from logocap_jax.predictor.poses import Poses
from logocap_jax.visualization.attraction import Attraction, draw_attraction_rows
from logocap_jax.visualization.heatmaps import draw_heatmaps

# What needs more than poses.
EXPLAINING = ("heatmaps", "kam")
VIEWS = ("refined", "initial", *EXPLAINING)

# People whose attraction maps are drawn: in an image at most, in a film's frames.
_MAX_PEOPLE = 12
_PEOPLE_OF_FILM = 4

_Drawn = UInt8[np.ndarray, "H2 W2 3"]


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
      views: of `VIEWS`. `refined` and `initial` share a picture, on which the initial
        poses are thin.
      pixels: the image, RGB.
      poses: what was found in it.
      explained: the maps; needed for `EXPLAINING`. Without attraction maps among them
        `kam` is no picture.
      labels: what to write above each pose instead of its score.
      film: all pictures of one view are of one size, whoever is in them.

    Yields:
      What a file's name says of the picture, if anything, and the picture.
    """
    if "refined" in views or "initial" in views:
        yield "", _overlay(views, pixels, poses, labels)
    if explained is not None and "heatmaps" in views:
        yield (
            "heatmaps",
            draw_heatmaps(
                *(pixels, explained.heatmaps, explained.cell_to_image),
                skeleton=poses.skeleton,
            ),
        )
    if explained is not None and explained.kam is not None and "kam" in views:
        names = labels or [str(number) for number in range(1, len(poses) + 1)]
        people = [attraction_of(explained, person) for person in range(len(poses))]
        rows = _PEOPLE_OF_FILM if film else min(len(people), _MAX_PEOPLE)
        yield (
            "kam",
            draw_attraction_rows(
                *(poses.draw(pixels, labels=names), pixels, people),
                labels=names,
                skeleton=poses.skeleton,
                rows=rows,
            ),
        )


def attraction_of(explained: Explained, person: int) -> Attraction:
    """The attraction maps of one of the people, where there are some."""
    assert explained.kam is not None
    assert explained.kam_radius is not None
    return Attraction(
        explained.kam[person],
        explained.poses.initial_keypoints[person],
        explained.kam_radius,
        explained.poses.keypoints[person],
    )


def _overlay(
    views: Collection[str],
    pixels: UInt8[np.ndarray, "H W 3"],
    poses: Poses,
    labels: Sequence[str] | None,
) -> _Drawn:
    if "refined" not in views:
        poses = dataclasses.replace(poses, keypoints=poses.initial_keypoints)
        return poses.draw(pixels, labels=labels)
    return poses.draw(pixels, initial="initial" in views, labels=labels)
