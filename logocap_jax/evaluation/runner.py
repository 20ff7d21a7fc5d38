"""Batched test-time inference over a data set."""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from logocap_jax.evaluation.results import ImagePoses, poses_of
from logocap_jax.methods.base import EvaluateFn, Method, Outputs, Variables, finish
from logocap_jax.processes import gather_rows
from logocap_jax.sharding import batch_sharding, local_rows, put_batch, replicated
from logocap_jax.structures import Batch, Poses

ResultSets = dict[str, list[ImagePoses]]
# Fields of `ImagePoses` that may be unknown.
_OPTIONAL = ("initial_keypoints", "areas")
_BATCH_FIELDS = frozenset(Batch.__dataclass_fields__)


class Evaluator(NamedTuple):
    """A method's evaluation on a mesh."""

    #: The jitted `evaluate`, batch sharded; it compiles once per input size.
    run: EvaluateFn
    finish: Callable[[Outputs], dict[str, Poses]]  #: outputs on the host -> result sets


def make_evaluator(method: Method, mesh: Mesh) -> Evaluator:
    """Compile a method's evaluation for a mesh."""
    whole, split = replicated(mesh), batch_sharding(mesh)

    # Each device works on its own images: left to itself, XLA would bring the maps of
    # all to each, to pack the slots of the whole batch.
    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(whole.spec, split.spec),
        out_specs=split.spec,
        check_vma=False,
    )
    # Named, so that profiles and compilation logs show it.
    def evaluate(variables: Variables, batch: Batch) -> Outputs:
        return method.evaluate(variables, batch)

    run = jax.jit(evaluate, in_shardings=(whole, split), out_shardings=split)
    return Evaluator(run, functools.partial(finish, method))


def run_evaluation(
    evaluator: Evaluator,
    variables: Variables,
    batches: Iterable[Mapping[str, Any]],
    mesh: Mesh,
    *,
    progress: Callable[[int], object] = lambda images: None,
) -> ResultSets:
    """Find the poses of all images, each process those of its own.

    Args:
      evaluator: of the method.
      variables: parameters and batch statistics.
      batches: this process's share; arrays named as the fields of `Batch`, and
        `image_id` [B], `input_to_image` [B, 2, 3] and `valid` [B], False for padding;
        of crops also `box_score` [B], which scores are multiplied by.
      mesh: devices.
      progress: called after each batch with the number of its images.

    Returns:
      On every process, for each result set the poses of all images, image px, in
      order of image id.
    """
    sets: ResultSets = collections.defaultdict(list)
    valid: list[np.ndarray] = []
    for arrays, outputs in _one_ahead(evaluator.run, variables, batches, mesh):
        outputs = evaluator.finish(jax.tree.map(local_rows, outputs))
        for name, poses in outputs.items():
            sets[name] += _images(poses, arrays)
        valid.append(arrays["valid"])
        progress(int(arrays["valid"].sum()))
    # Padding is left out only now: without it a process might have nothing to gather.
    is_valid = gather_rows(np.concatenate([np.zeros(0, bool), *valid]))
    return {
        name: sorted(
            itertools.compress(gather_images(images), is_valid),
            key=lambda image: image.image_id,
        )
        for name, images in sets.items()
    }


def _one_ahead(
    evaluate: EvaluateFn,
    variables: Variables,
    batches: Iterable[Mapping[str, Any]],
    mesh: Mesh,
) -> Iterator[tuple[Mapping[str, Any], Outputs]]:
    """Dispatch each batch before the results of the one before are read."""
    before = None
    for arrays in batches:
        shipped = {name: arrays[name] for name in _BATCH_FIELDS}
        outputs = evaluate(variables, Batch(**put_batch(shipped, mesh)))
        if before is not None:
            yield before
        before = (arrays, outputs)
    if before is not None:
        yield before


def _images(poses: Poses, arrays: Mapping[str, Any]) -> list[ImagePoses]:
    images = [
        ImagePoses(int(image_id), *poses_of(poses, row, arrays["input_to_image"][row]))
        for row, image_id in enumerate(arrays["image_id"])
    ]
    if "box_score" not in arrays:
        return images
    height, width = arrays["image"].shape[1:3]
    scale = np.abs(np.linalg.det(arrays["input_to_image"][..., :2]))
    return [
        dataclasses.replace(
            image,
            scores=image.scores * arrays["box_score"][row],
            areas=np.full(len(image.scores), scale[row] * height * width, np.float32),
        )
        for row, image in enumerate(images)
    ]


def gather_images(images: list[ImagePoses]) -> list[ImagePoses]:
    """Gather the images of all processes, bit for bit, in the order of processes.

    Each process must bring at least one, as it has a share of each batch.
    """
    ids = gather_rows(np.array([image.image_id for image in images], np.int64))
    counts = gather_rows(np.array([len(image.scores) for image in images], np.int64))
    keypoints, keypoint_scores, scores = (
        gather_rows(np.concatenate([getattr(image, name) for image in images]))
        for name in ("keypoints", "keypoint_scores", "scores")
    )
    initial, areas = (_gather_known(images, name) for name in _OPTIONAL)
    gathered = []
    for number, count, end in zip(ids, counts, np.cumsum(counts), strict=True):
        rows = slice(end - count, end)
        gathered.append(
            ImagePoses(
                int(number),
                keypoints[rows],
                keypoint_scores[rows],
                scores[rows],
                None if initial is None else initial[rows],
                None if areas is None else areas[rows],
            )
        )
    return gathered


def _gather_known(images: list[ImagePoses], name: str) -> np.ndarray | None:
    """A field that all images have or none."""
    known = [x for image in images if (x := getattr(image, name)) is not None]
    return gather_rows(np.concatenate(known)) if known else None
