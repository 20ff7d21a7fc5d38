"""Batched test-time inference over a data set."""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.inference.rescale import poses_of
from logocap_jax.methods.base import EvaluateFn, Method, Variables
from logocap_jax.sharding import batch_sharding, put_batch, replicated
from logocap_jax.structures import Batch, Poses

ResultSets = dict[str, list[ImagePoses]]
_BATCH_FIELDS = frozenset(Batch.__dataclass_fields__)


def jit_evaluate(method: Method, mesh: Mesh) -> EvaluateFn:
    """The method's `evaluate`, batch sharded; it compiles once per input size."""

    # Named, so that profiles and compilation logs show it.
    def evaluate(variables: Variables, batch: Batch) -> dict[str, Poses]:
        return method.evaluate(variables, batch)

    return jax.jit(
        evaluate,
        in_shardings=(replicated(mesh), batch_sharding(mesh)),
        out_shardings=replicated(mesh),
    )


def run_evaluation(
    evaluate: EvaluateFn,
    variables: Variables,
    batches: Iterable[Mapping[str, np.ndarray]],
    mesh: Mesh,
    *,
    progress: Callable[[int], None] = lambda images: None,
) -> ResultSets:
    """Find the poses of all images.

    Args:
      evaluate: the jitted function of `jit_evaluate`.
      variables: parameters and batch statistics.
      batches: arrays named as the fields of `Batch`, and `image_id` [B],
        `input_to_image` [B, 2, 3] and `valid` [B], False for padding.
      mesh: devices.
      progress: called with the number of images done.

    Returns:
      For each result set the poses of each image, image px, in order of image id.
    """
    sets: ResultSets = collections.defaultdict(list)
    done = 0
    for arrays, outputs in _one_ahead(evaluate, variables, batches, mesh):
        for name, poses in jax.device_get(outputs).items():
            sets[name] += _images(poses, arrays)
        done += int(arrays["valid"].sum())
        progress(done)
    return {
        name: sorted(images, key=lambda image: image.image_id)
        for name, images in sets.items()
    }


def _one_ahead(
    evaluate: EvaluateFn,
    variables: Variables,
    batches: Iterable[Mapping[str, np.ndarray]],
    mesh: Mesh,
) -> Iterator[tuple[Mapping[str, np.ndarray], dict[str, Poses]]]:
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


def _images(poses: Poses, arrays: Mapping[str, np.ndarray]) -> list[ImagePoses]:
    images = []
    for i in np.flatnonzero(arrays["valid"]):
        found = poses_of(poses, int(i), arrays["input_to_image"][i])
        images.append(ImagePoses(int(arrays["image_id"][i]), *found))
    return images
