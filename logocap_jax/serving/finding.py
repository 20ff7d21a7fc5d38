"""What the page knows of a photograph once people were looked for in it."""

import threading
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.media.views import attraction_of, draw_views
from logocap_jax.predictor.explainer import Explained, Explainer
from logocap_jax.predictor.poses import Poses
from logocap_jax.serving.limits import read_upload
from logocap_jax.visualization.attraction import draw_attraction

# What can be looked at: name on the page -> `views.VIEWS`.
PICTURES = {
    "refined": ("refined",),
    "refined and initial": ("refined", "initial"),
    "initial": ("initial",),
    "heatmaps": ("heatmaps",),
}

# What there is of weights without attraction maps, whose initial poses are final.
_PICTURES_OF_INITIAL = ("initial", "heatmaps")

# A photograph is shown with a long side of this at most, px.
_MAX_SHOWN = 1600


class Finding(NamedTuple):
    """A photograph and what was found in it.

    Attributes:
      pixels: RGB.
      explained: people and maps.
      decode_seconds: reading it, and warping it to the network's input.
      model_seconds: network, decoding to poses, pose NMS.
      compiled: the latter includes the compilation for this shape of images.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    explained: Explained
    decode_seconds: float
    model_seconds: float
    compiled: bool


class Finder:
    """Finds people, and takes the time.

    Attributes:
      has_kam: whether the people have attraction maps.
      pictures: those of `PICTURES` that can be drawn.
    """

    def __init__(self, explainer: Explainer) -> None:
        """Look for nothing yet."""
        self.has_kam = explainer.has_kam
        self.pictures = tuple(PICTURES) if self.has_kam else _PICTURES_OF_INITIAL
        self._explainer = explainer
        self._compiled: set[tuple[int, ...]] = set()
        self._at_work = threading.Lock()

    def finish(self) -> None:
        """Wait for the photograph under way: no process can end while JAX computes."""
        with self._at_work:
            pass

    def __call__(self, path: Path) -> Finding:
        """Find the people in an uploaded photograph.

        Raises:
          ValueError: if it is none, or too large.
        """
        start = time.perf_counter()
        pixels = read_upload(path)
        given = self._explainer.prepare(pixels)
        decoded = time.perf_counter()
        with self._at_work:
            explained = self._explainer.explain(given)
        found = time.perf_counter()
        shape = given.pixels.shape
        compiled = shape not in self._compiled
        self._compiled.add(shape)
        return Finding(pixels, explained, decoded - start, found - decoded, compiled)


def draw(finding: Finding, picture: str) -> UInt8[np.ndarray, "H W 3"]:
    """Draw one of `PICTURES`, of a size to show."""
    (_, drawn), *_ = draw_views(
        *(PICTURES[picture], finding.pixels, finding.explained.poses),
        finding.explained,
    )
    shrink = _MAX_SHOWN / max(drawn.shape)
    if shrink >= 1:
        return drawn
    return cv2.resize(drawn, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


def draw_person(finding: Finding, person: int) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the attraction maps of one of the people, where there are some."""
    return draw_attraction(
        finding.pixels,
        attraction_of(finding.explained, person),
        skeleton=finding.explained.poses.skeleton,
    )


def person_at(poses: Poses, point: Float[np.ndarray, "2"]) -> int | None:
    """Whose limb is nearest to a point of the image; None where there is nobody.

    Args:
      poses: the people, image px.
      point: `(x, y)`, image px.
    """
    if not len(poses):
        return None
    limbs = np.array(poses.skeleton.limbs)
    start, end = poses.keypoints[:, limbs[:, 0]], poses.keypoints[:, limbs[:, 1]]
    along = end - start  # [n, L, 2]
    length = np.maximum(np.sum(along**2, axis=-1), 1e-9)
    share = np.clip(np.sum((point - start) * along, axis=-1) / length, 0, 1)
    nearest = start + share[..., None] * along
    distance = np.linalg.norm(nearest - point, axis=-1).min(axis=1)
    return int(np.argmin(distance))


def image_point(
    finding: Finding, shown: Float[np.ndarray, "2"], shown_width: int
) -> Float[np.ndarray, "2"]:
    """A point of a shown picture, which is as wide as the photograph, in image px."""
    scale = finding.pixels.shape[1] / shown_width
    return (shown + 0.5) * scale - 0.5
