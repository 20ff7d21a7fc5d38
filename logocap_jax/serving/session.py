"""An uploaded photograph: its limits, the people in it, pictures of both."""

import threading
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_pipeline.read.images import decode_photograph, encoded_size
from logocap_jax.media.views import draw_views, patches_of
from logocap_jax.methods.base import MapLayer
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Explained, Predictor
from logocap_jax.visualization.patches import draw_patches

MAX_UPLOAD_BYTES = 20 * 2**20
MAX_PIXELS = 24_000_000

STATED = (
    f"JPEG or PNG, up to {MAX_UPLOAD_BYTES // 2**20} MiB and "
    f"{MAX_PIXELS // 1_000_000} megapixels"
)

# Pictures of poses: name on the page -> views of `draw_views`.
_POSES = {"poses": ("refined",)}
_REFINED_POSES = {
    "refined": ("refined",),
    "refined and initial": ("refined", "initial"),
    "initial": ("initial",),
}

# A photograph is shown with a long side of this at most, px.
_MAX_SHOWN = 1600


class SessionState(NamedTuple):
    """A photograph and the people in it."""

    pixels: UInt8[np.ndarray, "H W 3"]  #: RGB
    explained: Explained  #: people and layers
    decode_seconds: float  #: reading it, and warping it to the network's input
    model_seconds: float  #: network, decoding to poses, pose NMS
    compiled: bool  #: the latter includes the compilation for this shape of images


class TimedPredictor:
    """Finds people in uploads, and measures the time.

    Attributes:
      pictures: name on the page -> views of `draw_views`.
      patches: kinds of the layers that are drawn person by person, by name.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Predict nothing yet."""
        layers = predictor.layers.items()
        maps = {name: (name,) for name, kind in layers if kind is MapLayer}
        self.pictures = (_REFINED_POSES if predictor.refines else _POSES) | maps
        self.patches = {name: kind for name, kind in layers if kind is not MapLayer}
        self._predictor = predictor
        self._compiled: set[tuple[int, ...]] = set()
        self._at_work = threading.Lock()

    def finish(self) -> None:
        """Wait for the photograph under way: no process can end while JAX computes."""
        with self._at_work:
            pass

    def __call__(self, path: Path) -> SessionState:
        """Find the people in an uploaded photograph.

        Raises:
          ValueError: if it is none, or too large.
        """
        start = time.perf_counter()
        pixels = read_upload(path)
        given = self._predictor.prepare(pixels)
        decoded = time.perf_counter()
        with self._at_work:
            explained = self._predictor.explain(given)
        end = time.perf_counter()
        shape = given.pixels.shape
        compiled = shape not in self._compiled
        self._compiled.add(shape)
        return SessionState(pixels, explained, decoded - start, end - decoded, compiled)


def read_upload(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an uploaded photograph to RGB, upright; check its size first.

    Raises:
      ValueError: if it is too large, neither JPEG nor PNG, or damaged.
    """
    size = path.stat().st_size
    if size > MAX_UPLOAD_BYTES:
        raise ValueError(f"got {size} bytes, expected {STATED}")
    encoded = path.read_bytes()
    width, height = encoded_size(encoded)
    if width * height > MAX_PIXELS:
        raise ValueError(f"got {width}x{height} pixels, expected {STATED}")
    return decode_photograph(encoded)


def draw(state: SessionState, views: tuple[str, ...]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw one of a predictor's `pictures`, of a size to show."""
    explained = state.explained
    (_, drawn), *_ = draw_views(views, state.pixels, explained.poses, explained)
    shrink = _MAX_SHOWN / max(drawn.shape)
    if shrink >= 1:
        return drawn
    return cv2.resize(drawn, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


def draw_person(
    state: SessionState, layer: str, person: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw the patches of one of the people."""
    return draw_patches(
        state.pixels,
        patches_of(state.explained, layer, person),
        skeleton=state.explained.poses.skeleton,
    )


def person_at(poses: Poses, point: Float[np.ndarray, "2"]) -> int | None:
    """The person with the limb nearest to a point, image px; None without people."""
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
    state: SessionState, shown: Float[np.ndarray, "2"], shown_width: int
) -> Float[np.ndarray, "2"]:
    """A point of a shown picture, which is as wide as the photograph, in image px."""
    scale = state.pixels.shape[1] / shown_width
    return (shown + 0.5) * scale - 0.5
