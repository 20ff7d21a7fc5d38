"""Poses together with the maps that they come from, to look at."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax import geometry
from logocap_jax.device_memory import explaining_memory
from logocap_jax.inference.rescale import poses_of
from logocap_jax.methods import build_config
from logocap_jax.methods.base import Method, Variables
from logocap_jax.predictor.compiled import keep_compiled
from logocap_jax.predictor.fitting import Size, by_short_side, few_canvases
from logocap_jax.predictor.images import ImageLike
from logocap_jax.predictor.inputs import Input, make_input
from logocap_jax.predictor.poses import Poses
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import View
from logocap_jax.weights.settings import build_fitting, load_settings

# What lowers the memory that an image needs.
_ADVICE = (
    "a smaller short_side lowers it, and so do dtype='bfloat16' and flip_test=False"
)


class Explained(NamedTuple):
    """The poses of one image, and why.

    Attributes:
      poses: in pixels of the original image.
      heatmaps: one per keypoint, in cells.
      cell_to_image: from cells of the heatmaps to pixels of the original image.
      kam: local attraction maps of the poses, 0..1; axis 1 runs along y. None: the
        method has none.
      kam_radius: how far they reach from the initial keypoint in their middle, along x
        and y; pixels of the original image.
    """

    poses: Poses
    heatmaps: Float[np.ndarray, "h w K"]
    cell_to_image: Float[np.ndarray, "2 3"]
    kam: Float[np.ndarray, "n E E K"] | None
    kam_radius: Float[np.ndarray, " K"] | None


class Explainer:
    """Finds the people in images, one image at a time, and keeps the maps.

    Attributes:
      skeleton: keypoints of the poses.
      has_kam: whether there are attraction maps among the maps.
    """

    def __init__(
        self,
        method: Method,
        variables: Variables,
        skeleton: Skeleton,
        *,
        short_side: int = 512,
        score_threshold: float = 0.0,
    ) -> None:
        """Compile nothing yet; `from_weights` is the usual way.

        Args:
          method: finds the poses.
          variables: parameters and batch statistics.
          skeleton: keypoints of the poses.
          short_side: of the network's input, px.
          score_threshold: poses with a lower score are left out.
        """
        self._explain = functools.partial(
            jax.jit(method.explain), jax.jit(method.prepare)(variables)
        )
        self.skeleton = skeleton
        self.has_kam = bool(method.oracles)
        self._answer = method.answer
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
        skeleton: Skeleton | None = None,
    ) -> "Explainer":
        """Load weights; all is as for `Predictor.from_weights`.

        Raises:
          ValueError: unreadable weights, or settings that do not fit them.
        """
        keep_compiled()
        path = Path(path)
        changes = {"flip_test": flip_test, "dtype": dtype, **(settings or {})}
        if skeleton is not None:
            changes["skeleton"] = dataclasses.asdict(skeleton)
        found, variables = load_settings(path, changes)
        method = build_fitting(path, found, variables)
        config = build_config(found.pop("name"), found)
        return cls(
            *(method, variables, config.skeleton),
            short_side=short_side,
            score_threshold=score_threshold,
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
        view = View(
            jnp.asarray(given.pixels[None]), jnp.asarray([given.valid_size], jnp.int32)
        )
        with explaining_memory(_ADVICE):
            found = jax.device_get(self._explain(view))
        transform = given.input_to_image
        answer = found.outputs[self._answer]
        kept = answer.valid & (answer.scores >= self._score_threshold)
        good = dataclasses.replace(answer, valid=kept)
        keypoints, keypoint_scores, scores, initial = poses_of(good, 0, transform)
        if initial is None:
            initial = keypoints
        height, width = (side // geometry.STRIDE for side in given.valid_size)
        return Explained(
            Poses(keypoints, keypoint_scores, scores, initial, self.skeleton),
            found.layers["heatmaps"].values[0, :height, :width],
            _cell_to_image(transform),
            found.layers["kam"].values[kept] if self.has_kam else None,
            np.array(found.layers["kam"].radius) * transform[0, 0]
            if self.has_kam
            else None,
        )


def _cell_to_image(input_to_image: Float[np.ndarray, "2 3"]) -> np.ndarray:
    """Cells as decoding reads them: at their middles (`geometry.upsample_to_input`)."""
    result = input_to_image.astype(np.float64)
    middle = (geometry.STRIDE - 1) / 2
    result[:, 2] += result[:, :2] @ (middle, middle)
    result[:, :2] *= geometry.STRIDE
    return result
