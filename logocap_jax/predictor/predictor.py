"""`Predictor`: compiled inference behind one call."""

import collections
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from logocap_jax import structures
from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.results import poses_of
from logocap_jax.methods.base import Explanation, Layer, MapLayer
from logocap_jax.predictor import exported
from logocap_jax.predictor.compiled import Model, compile_weights, keep_compiled
from logocap_jax.predictor.inputs import (
    Fit,
    ImageLike,
    Input,
    Size,
    by_short_side,
    check_boxes,
    few_canvases,
    make_input,
    person_box,
    read_image,
    whole_picture,
)
from logocap_jax.predictor.poses import Poses, join_people
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import View
from logocap_jax.weights.settings import usual_short_side

_ADVICE = (
    "a smaller batch_size or short_side lowers it, and so do dtype='bfloat16' and "
    "flip_test=False"
)

# Images in flight: as many batches are decoded before the first is asked for.
_BATCHES_AHEAD = 4

_Item = TypeVar("_Item")


class Explained(NamedTuple):
    """The poses of one image, and the layers behind them."""

    poses: Poses  #: in pixels of the original image
    #: By name, without a batch axis. Maps cover the image's part of the input; of
    #: patches there is one per pose, and their radius is in input px.
    layers: dict[str, Layer]
    #: From input px to pixels of the original image.
    input_to_image: Float[np.ndarray, "2 3"]


class Predictor:
    """Finds the people in images of any size.

    One image, or an iterable of them, goes in; `Poses`, or a list of them in the same
    order, comes out. Each size of canvas is compiled for once.
    """

    def __init__(
        self,
        model: Model,
        fit: Fit,
        *,
        canvas: Callable[[Size], Size] | None = None,
        score_threshold: float = -np.inf,
        batch_size: int | None = None,
    ) -> None:
        """Compile nothing yet; `from_weights` and `from_export` are the usual ways.

        Args:
          model: finds poses in a batch of inputs.
          fit: chooses the size of an image's input, and the image's place in it.
          canvas: size of an input -> size of the array that holds it; None: the same,
            and the model gets no valid sizes.
          score_threshold: poses with a lower score are left out; by default none.
          batch_size: images that run together; by default 1 on a CPU, else 8.

        Raises:
          ValueError: if a number makes no sense.
        """
        if batch_size is None:
            batch_size = 1 if jax.default_backend() == "cpu" else 8
        if batch_size < 1:
            raise ValueError(f"got batch_size={batch_size}, expected 1 or more")
        self.skeleton = model.skeleton
        self.score_threshold = score_threshold
        self.batch_size = batch_size
        self._model = model
        self._fit = fit
        self._canvas = canvas

    @classmethod
    def from_weights(
        cls,
        path: str | os.PathLike[str],
        *,
        short_side: int | None = None,
        flip_test: bool = True,
        dtype: str = "float32",
        share_canvases: bool = True,
        settings: dict[str, Any] | None = None,
        skeleton: Skeleton | None = None,
        **options: Any,
    ) -> "Predictor":
        """Load weights of any method.

        Traces and compiled programs are kept on disk for later runs (`compiled`).

        Args:
          path: a run of `train.py`, any file that `logocap convert` reads or writes,
            PyTorch checkpoints among them, or a name of public weights such as
            `dekr_w32_coco`, which are downloaded once (`weights.named`).
          short_side: of the network's input, px, rounded up to a multiple of 64; so is
            the long side. By default that of the run or the named weights, else 512.
          flip_test: average with the mirror image: better, and twice the work.
          dtype: of the network, `float32` or `bfloat16`.
          share_canvases: inputs of all shapes share a few canvases
            (`inputs.few_canvases`), four up to an aspect of 2.25, so that little must
            be compiled; else each size of input is compiled for, and runs faster.
          settings: further settings of the method, such as `window_radius`, where the
            weights do not bring their own.
          skeleton: the keypoints; by default a run tells, of other weights their
            number: COCO's or CrowdPose's.
          **options: as for `Predictor`.

        Raises:
          ValueError: unreadable weights, or settings that do not fit them.
        """
        keep_compiled()
        model = compile_weights(
            Path(path),
            flip_test=flip_test,
            dtype=dtype,
            settings=settings,
            skeleton=skeleton,
        )
        if short_side is None:
            short_side = usual_short_side(Path(path)) or 512
        if model.inputs.crop is not None:
            return cls(model, whole_picture(model.inputs.crop.size), **options)
        rule = model.inputs.multiple, model.inputs.rounding
        fit = by_short_side(short_side, *rule)
        shared = share_canvases and model.inputs.shares_canvases
        canvas = few_canvases(short_side, *rule) if shared else None
        return cls(model, fit, canvas=canvas, **options)

    @classmethod
    def from_export(
        cls,
        path: str | os.PathLike[str],
        *,
        short_side: int | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> "Predictor":
        """Load what `logocap export` wrote; the method's code is not needed.

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
        keep_compiled()
        info, model = exported.load_export(Path(path))
        fit = exported.fit_of(info, short_side)
        batch_size = exported.batch_size_of(info, batch_size)
        return cls(model, fit, batch_size=batch_size, **options)

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], *, boxes: Any = None
    ) -> Poses | list[Poses]:
        """Find the people.

        Args:
          images: one image, or an iterable of images of any mix of sizes; each a path
            (JPEG, PNG), an RGB array `[H, W, 3]` of uint8, or a PIL image.
          boxes: for a method that sees one person at a time: those of the image, or an
            iterable of those of each, as for `find_in_boxes`. None: every image is one
            person's.

        Returns:
          The poses of the image, or a list with those of each image, in order.

        Raises:
          ValueError: if an image is not one, or cannot be read; names it. If boxes do
            not fit the images, or the method takes none.
          DoesNotFitError: a ValueError, too: if a batch needs too much memory.
        """
        is_many = isinstance(images, Iterable) and not isinstance(
            images, (str, os.PathLike, np.ndarray)
        )
        if boxes is None:
            return list(self.stream(images)) if is_many else next(self.stream([images]))
        if not is_many:
            return self.find_in_boxes(images, boxes)
        images, boxes = list(images), list(boxes)
        if len(images) != len(boxes):
            raise ValueError(
                f"got {len(images)} images and boxes of {len(boxes)}, expected as many"
            )
        return [self.find_in_boxes(*pair) for pair in zip(images, boxes, strict=True)]

    def find_in_boxes(self, image: ImageLike, boxes: Any) -> Poses:
        """Find one person in each box of an image, duplicates left out.

        Args:
          image: as for a call.
          boxes: `[n, 4]`, `x0 y0 x1 y1` in image px; with a fifth column, the scores of
            the boxes, which those of the poses are multiplied by.

        Raises:
          ValueError: as a call does; if the boxes are none, or the method takes none.
        """
        crop, pixels = self._model.inputs.crop, read_image(image)
        if crop is None:
            raise ValueError(
                "got boxes, expected none: this method finds people by itself"
            )
        rows = check_boxes(boxes)
        inputs = [
            make_input(pixels, person_box(row[:4], crop.size, crop.padding))
            for row in rows
        ]
        with explaining_memory(_ADVICE):
            found = self._predict(inputs)
        scale = [abs(np.linalg.det(given.input_to_image[:, :2])) for given in inputs]
        poses = join_people(
            found,
            box_scores=rows[:, 4],
            areas=np.array(scale) * np.prod(crop.size),
            skeleton=self.skeleton,
            threshold=crop.nms_threshold,
        )
        return poses.above(self.score_threshold)

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Poses]:
        """As a call, but image by image; only a few are in memory at a time.

        Raises:
          ValueError: as a call does.
        """
        with ThreadPoolExecutor(_BATCHES_AHEAD) as pool:
            for chunk in _batched(images, self.batch_size * _BATCHES_AHEAD):
                inputs = list(pool.map(self.prepare, chunk))
                with explaining_memory(_ADVICE):
                    predictions = self._predict(inputs)
                for poses in predictions:
                    yield poses.above(self.score_threshold)

    def explain(self, image: ImageLike | Input) -> Explained:
        """Find the people in one image, and keep the layers behind them.

        Args:
          image: as for a call, or from `prepare`.

        Raises:
          ValueError: as a call does, or for an export, which keeps no layers.
        """
        run = self._explainer()
        given = image if isinstance(image, Input) else self.prepare(image)
        with explaining_memory(_ADVICE):
            explanation = jax.device_get(run(self._view([given])))
        answer = self._model.finish(explanation.outputs)
        kept = answer.valid & (answer.scores >= self.score_threshold)
        layers = {
            name: _of_one_image(layer, given.valid_size, np.asarray(kept[0]))
            for name, layer in explanation.layers.items()
        }
        poses = self._poses(answer, 0, given).above(self.score_threshold)
        return Explained(poses, layers, given.input_to_image)

    @functools.cached_property
    def layers(self) -> dict[str, type]:
        """The kinds of the layers that `explain` keeps, classes of `Layer`."""
        return {name: type(x) for name, x in self._shapes.layers.items()}

    @functools.cached_property
    def refines(self) -> bool:
        """False if it is known that poses hold no keypoints before refinement."""
        if self._model.on_host:
            return True
        return self._model.finish(self._shapes.outputs).initial_keypoints is not None

    @functools.cached_property
    def _shapes(self) -> Explanation:
        blank = self.prepare(np.zeros((1, 1, 3), np.uint8))
        return jax.eval_shape(self._explainer(), self._view([blank]))

    def input_size(self, image_size: Size) -> Size:
        """Size of the network's input for an image, both `(width, height)`.

        Raises:
          ValueError: if the image is too narrow for any.
        """
        return self._fit(image_size)[0]

    def prepare(self, image: ImageLike) -> Input:
        """Read an image and warp it to the network's input; raises as a call does."""
        scales = self._model.inputs.scales
        return make_input(image, self._fit, self._canvas, scales)

    def _explainer(self) -> Callable[[View], Explanation]:
        if self._model.explain is None:
            raise ValueError("got an export, expected weights: an export has no layers")
        return self._model.explain

    def _view(self, inputs: Sequence[Input]) -> View:
        transforms = np.stack([given.input_to_image for given in inputs])
        by_scale = zip(*(given.scaled for given in inputs), strict=True)
        arrays: dict[str, Any] = {
            "image": np.stack([given.pixels for given in inputs]),
            "input_to_image": transforms.astype(np.float32),
            "scaled": tuple(np.stack(images) for images in by_scale),
        }
        if self._canvas is not None:
            sizes = np.array([given.valid_size for given in inputs], np.int32)
            arrays["valid_size"] = sizes
        return View(**arrays)

    def _predict(self, inputs: Sequence[Input]) -> list[Poses]:
        """Run inputs in batches of one size; all are under way before one is read."""
        groups = collections.defaultdict(list)
        for position, given in enumerate(inputs):
            groups[given.pixels.shape].append(position)
        under_way = []
        for group in groups.values():
            for batch in _batched(group, self.batch_size):
                # The last batch is filled up with copies, to be of the same shape.
                filled = [*batch, *[batch[-1]] * (self.batch_size - len(batch))]
                view = self._view([inputs[position] for position in filled])
                under_way.append((batch, self._model.predict(view)))
        results: dict[int, Poses] = {}
        for batch, outputs in under_way:
            answer = self._model.finish(jax.device_get(outputs))
            for row, position in enumerate(batch):
                results[position] = self._poses(answer, row, inputs[position])
        return [results[position] for position in range(len(inputs))]

    def _poses(self, answer: structures.Poses, row: int, given: Input) -> Poses:
        arrays = poses_of(answer, row, given.input_to_image)
        return Poses(*arrays, skeleton=self.skeleton)


def _of_one_image(layer: Layer, valid_size: tuple[int, int], kept: np.ndarray) -> Layer:
    if not isinstance(layer, MapLayer):
        return jax.tree.map(lambda x: x[0][kept], layer)
    height, width = (side // layer.cells.stride for side in valid_size)
    return dataclasses.replace(layer, values=layer.values[0, :height, :width])


def _batched(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    # `itertools.batched` is of Python 3.12.
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, size)):
        yield batch
