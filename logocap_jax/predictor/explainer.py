"""Poses together with the maps that they come from, to look at."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from logocap_jax import geometry
from logocap_jax.device_memory import explaining_memory
from logocap_jax.inference.rescale import poses_of
from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.methods.logocap.config import Parts, make_parts
from logocap_jax.methods.logocap.explanation import Explanation, explain
from logocap_jax.models.folding import fold_batch_norm
from logocap_jax.predictor.fitting import Size, by_short_side, few_canvases
from logocap_jax.predictor.images import ImageLike
from logocap_jax.predictor.inputs import Input, make_input
from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.weights import build_fitting, load_settings

# What lowers the memory that an image needs.
_ADVICE = (
    "a smaller short_side lowers it, and so do dtype='bfloat16' and flip_test=False"
)

# A canvas `[1, H, W, 3]` and its extent `[1, 2]` -> explanation, in input px.
ExplainFn = Callable[[np.ndarray, np.ndarray], Explanation]


class Explained(NamedTuple):
    """The poses of one image, and why.

    Attributes:
      poses: in pixels of the original image.
      heatmaps: one per keypoint, in cells.
      cell_to_image: from cells of the heatmaps to pixels of the original image.
      kam: local attraction maps of the poses, 0..1; axis 1 runs along y.
      mesh_radius: how far the maps of a keypoint reach from the initial keypoint in
        their middle, along x and y; pixels of the original image.
    """

    poses: Poses
    heatmaps: Float[np.ndarray, "h w K"]
    cell_to_image: Float[np.ndarray, "2 3"]
    kam: Float[np.ndarray, "n E E K"]
    mesh_radius: Float[np.ndarray, " K"]


class Explainer:
    """Finds the people in images, one image at a time, and keeps the maps."""

    def __init__(
        self,
        parts: Parts,
        variables: Variables,
        *,
        short_side: int = 512,
        score_threshold: float = 0.0,
    ) -> None:
        """Compile nothing yet; `from_weights` is the usual way.

        Args:
          parts: settings and networks of LOGO-CAP.
          variables: parameters and batch statistics.
          short_side: of the network's input, px.
          score_threshold: poses with a lower score are left out.
        """
        self._explain: ExplainFn = functools.partial(
            jax.jit(functools.partial(explain, parts)),
            jax.jit(fold_batch_norm)(variables),
        )
        self.skeleton = parts.config.skeleton
        self._mesh_radius = np.abs(parts.mesh_offsets[0, 0, :, 0])  # [K], input px
        self._score_threshold = score_threshold
        self._fit, self._canvas = by_short_side(short_side), few_canvases(short_side)

    @classmethod
    def from_weights(
        cls,
        path: str | os.PathLike[str],
        *,
        short_side: int = 512,
        score_threshold: float = 0.0,
        flip_test: bool = True,
        dtype: str = "float32",
        settings: dict[str, Any] | None = None,
    ) -> "Explainer":
        """Load weights of LOGO-CAP; all is as for `Predictor.from_weights`.

        Raises:
          ValueError: unreadable weights, those of another method, or settings that do
            not fit them.
        """
        path = Path(path)
        changes = {"flip_test": flip_test, "dtype": dtype, **(settings or {})}
        found, variables = load_settings(path, changes)
        if found["name"] != "logocap":
            raise ValueError(
                f"{path}: got weights of {found['name']}, which has no attraction "
                "maps, expected those of logocap"
            )
        build_fitting(path, found, variables)
        del found["name"]
        parts = make_parts(build_config("logocap", found))
        return cls(
            *(parts, variables), short_side=short_side, score_threshold=score_threshold
        )

    def __call__(self, image: ImageLike) -> Explained:
        """Find the people in an image.

        Args:
          image: as `Predictor` takes it.

        Raises:
          ValueError: if it is no image, or none that fits.
        """
        return self.explain(self.prepare(image))

    def input_size(self, image_size: Size) -> Size:
        """As `Predictor.input_size`."""
        return self._fit(image_size)[0]

    def prepare(self, image: ImageLike) -> Input:
        """Make the network's input of an image; raises as a call does."""
        return make_input(image, self._fit, self._canvas)

    def explain(self, given: Input) -> Explained:
        """Find the people in a prepared image."""
        extent = np.array([given.extent], np.int32)
        with explaining_memory(_ADVICE):
            found = jax.device_get(self._explain(given.pixels[None], extent))
        transform = given.input_to_image
        kept = found.poses.valid & (found.poses.scores >= self._score_threshold)
        good = dataclasses.replace(found.poses, valid=kept)
        keypoints, keypoint_scores, scores, initial = poses_of(good, 0, transform)
        assert initial is not None  # LOGO-CAP's poses say where they come from
        height, width = (side // geometry.STRIDE for side in given.extent)
        return Explained(
            Poses(keypoints, keypoint_scores, scores, initial, self.skeleton),
            found.heatmaps[0, :height, :width, :-1],
            _cell_to_image(transform),
            found.kam[kept],
            self._mesh_radius * transform[0, 0],
        )


def _cell_to_image(input_to_image: Float[np.ndarray, "2 3"]) -> np.ndarray:
    """Cells as decoding reads them: at their middles (`geometry.upsample_to_input`)."""
    result = input_to_image.astype(np.float64)
    middle = (geometry.STRIDE - 1) / 2
    result[:, 2] += result[:, :2] @ (middle, middle)
    result[:, :2] *= geometry.STRIDE
    return result
