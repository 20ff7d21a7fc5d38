"""`Predictor`: compiled inference behind one call."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jaxtyping import Int32, UInt8

from logocap_jax import structures
from logocap_jax.device_memory import explaining_memory
from logocap_jax.inference.rescale import poses_of
from logocap_jax.predictor.compiled import keep_compiled
from logocap_jax.predictor.fitting import Fit, Size, by_short_side, few_canvases
from logocap_jax.predictor.images import ImageLike
from logocap_jax.predictor.inputs import Input, make_input
from logocap_jax.predictor.poses import Poses
from logocap_jax.skeletons import Skeleton

# What lowers the memory that a batch needs.
_ADVICE = (
    "a smaller batch_size or short_side lowers it, and so do dtype='bfloat16' and "
    "flip_test=False"
)

# Images in flight: as many batches are decoded before the first is asked for.
_BATCHES_AHEAD = 4


_Item = TypeVar("_Item")

# Inputs `[B, H, W, 3]`, of which the first rows and columns `[B, (height, width)]` are
# image, or all where that is None -> their poses, in input px.
PredictFn: TypeAlias = Callable[
    [UInt8[np.ndarray, "B H W 3"], Int32[np.ndarray, "B 2"] | None], structures.Poses
]


class Predictor:
    """Finds the people in images of any size.

    One image, or an iterable of them, goes in; `Poses`, or a list of them in the same
    order, comes out. Each size of canvas is compiled for once.
    """

    def __init__(
        self,
        predict: PredictFn,
        fit: Fit,
        *,
        skeleton: Skeleton,
        canvas: Callable[[Size], Size] | None = None,
        score_threshold: float = 0.0,
        batch_size: int | None = None,
    ) -> None:
        """Compile nothing yet; `from_weights` and `from_export` are the usual ways.

        Args:
          predict: finds poses in a batch of inputs; jitted.
          fit: chooses the size of an image's input, and the image's place in it.
          skeleton: keypoints of the poses.
          canvas: size of an input -> size of the array that holds it; None: the same,
            and `predict` gets no valid sizes.
          score_threshold: poses with a lower score are left out.
          batch_size: images that run together; by default 1 on a CPU, else 8.

        Raises:
          ValueError: if a number makes no sense.
        """
        if batch_size is None:
            batch_size = 1 if jax.default_backend() == "cpu" else 8
        if batch_size < 1:
            raise ValueError(f"got batch_size={batch_size}, expected 1 or more")
        self.skeleton = skeleton
        self.score_threshold = score_threshold
        self.batch_size = batch_size
        self._predict = predict
        self._fit = fit
        self._canvas = canvas

    @classmethod
    def from_weights(
        cls,
        path: str | os.PathLike[str],
        *,
        short_side: int = 512,
        flip_test: bool = True,
        dtype: str = "float32",
        share_canvases: bool = True,
        settings: dict[str, Any] | None = None,
        skeleton: Skeleton | None = None,
        **options: Any,
    ) -> "Predictor":
        """Load weights, whatever they are.

        What is traced and compiled is kept on disk for later runs (`traces`,
        `compiled.keep_compiled`).

        Args:
          path: a run of `train.py`, or any file that `logocap convert` reads or
            writes, PyTorch checkpoints among them.
          short_side: of the network's input, px, rounded up to a multiple of 64; so is
            the long side.
          flip_test: average with the mirror image: better, and twice the work.
          dtype: of the network, `float32` or `bfloat16`.
          share_canvases: inputs of all shapes share a few canvases
            (`fitting.few_canvases`), four up to an aspect of 2.25, so that little must
            be compiled; else each size of input is compiled for, and runs faster.
          settings: further settings of the method, such as `window_radius`, where the
            weights do not bring their own.
          skeleton: what the keypoints are; by default a run tells, of other weights
            their number: COCO's or CrowdPose's.
          **options: as for `Predictor`.

        Raises:
          ValueError: unreadable weights, or settings that do not fit them.
        """
        from logocap_jax.predictor.weights import compile_weights

        keep_compiled()
        changes = {"flip_test": flip_test, "dtype": dtype, **(settings or {})}
        if skeleton is not None:
            changes["skeleton"] = dataclasses.asdict(skeleton)
        predict, skeleton = compile_weights(Path(path), changes)
        fit = by_short_side(short_side)
        canvas = few_canvases(short_side) if share_canvases else None
        return cls(predict, fit, canvas=canvas, skeleton=skeleton, **options)

    @classmethod
    def from_export(
        cls,
        path: str | os.PathLike[str],
        *,
        short_side: int | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> "Predictor":
        """Load what `logocap export` wrote; the model's code is not needed.

        Where the export's size is fixed, each image is shrunk or enlarged until all of
        it is just inside, in the middle, black around it: nothing is cut off, and
        people are smaller than with `from_weights` where the shapes differ much.

        Args:
          path: the export; its JSON lies beside it.
          short_side: as for `from_weights`, by default 512; only where the export's
            size is dynamic.
          batch_size: as for `Predictor`; the export's own where that is fixed.
          **options: as for `Predictor`.

        Raises:
          ValueError: no such export, one that is damaged or of another version, or an
            option that it cannot follow.
        """
        from logocap_jax.predictor import exported

        keep_compiled()
        info, predict = exported.load_export(Path(path))
        fit = exported.fit_of(info, short_side)
        batch_size = exported.batch_size_of(info, batch_size)
        return cls(
            predict, fit, skeleton=info.skeleton, batch_size=batch_size, **options
        )

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Poses | list[Poses]:
        """Find the people.

        Args:
          images: one image, or an iterable of images of any mix of sizes; each a path
            (JPEG, PNG), an RGB array `[H, W, 3]` of uint8, or a PIL image.

        Returns:
          The poses of the image, or a list with those of each image, in order.

        Raises:
          ValueError: if an image is not one, or cannot be read; names it.
          DoesNotFitError: a ValueError, too: if a batch needs too much memory.
        """
        if isinstance(images, Iterable) and not isinstance(
            images, (str, os.PathLike, np.ndarray)
        ):
            return list(self.stream(images))
        return next(self.stream([images]))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Poses]:
        """As a call, but image after image: of many, only a few are in memory.

        Raises:
          ValueError: as a call does.
        """
        with ThreadPoolExecutor(_BATCHES_AHEAD) as pool:
            for chunk in _batched(images, self.batch_size * _BATCHES_AHEAD):
                inputs = list(pool.map(self._prepare, chunk))
                with explaining_memory(_ADVICE):
                    found = self._chunk(inputs)
                yield from found

    def input_size(self, image_size: Size) -> Size:
        """Size of the network's input for an image, both `(width, height)`.

        Raises:
          ValueError: if the image is too narrow for any.
        """
        return self._fit(image_size)[0]

    def _prepare(self, image: ImageLike) -> Input:
        return make_input(image, self._fit, self._canvas or _same)

    def _chunk(self, inputs: Sequence[Input]) -> list[Poses]:
        """Run inputs in batches of one size; all are under way before one is read."""
        groups = collections.defaultdict(list)
        for position, given in enumerate(inputs):
            groups[given.pixels.shape].append(position)
        under_way = []
        for group in groups.values():
            for batch in _batched(group, self.batch_size):
                # The last batch is filled up with copies, to be of the same shape.
                filled = [*batch, *[batch[-1]] * (self.batch_size - len(batch))]
                pixels = np.stack([inputs[position].pixels for position in filled])
                valid_sizes = [inputs[position].valid_size for position in filled]
                valid_size = (
                    None if self._canvas is None else np.array(valid_sizes, np.int32)
                )
                found = self._predict(pixels, valid_size)
                under_way.append((batch, found))
        results: dict[int, Poses] = {}
        for batch, found in under_way:
            poses = jax.device_get(found)
            for row, position in enumerate(batch):
                transform = inputs[position].input_to_image
                results[position] = self._result(poses_of(poses, row, transform))
        return [results[position] for position in range(len(inputs))]

    def _result(self, found: tuple[Any, ...]) -> Poses:
        keypoints, keypoint_scores, scores, initial = found
        if initial is None:
            initial = keypoints
        poses = Poses(keypoints, keypoint_scores, scores, initial, self.skeleton)
        return poses.above(self.score_threshold)


def _same(size: Size) -> Size:
    return size


def _batched(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    # `itertools.batched` is of Python 3.12.
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
