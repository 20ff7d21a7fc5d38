"""The poses that a run's model finds in a split, and their scores."""

import contextlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tqdm

from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.coco import keypoint_category
from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.results import to_coco
from logocap_jax.evaluation.runner import ResultSets, make_evaluator, run_evaluation
from logocap_jax.experiment.run import EVALUATION_ADVICE, Run
from logocap_jax.methods.base import Method, Variables
from logocap_jax.sharding import replicated
from logocap_jax.skeletons import Skeleton, parse_skeleton
from logocap_jax.training.errors import MismatchError
from logocap_jax.weights.files import load_weights
from logocap_jax.weights.settings import saved_settings

Rows = dict[str, dict[str, float | None]]

_LOG = logging.getLogger(__name__)


class Predictions(NamedTuple):
    """Poses of all images of a split."""

    #: By name of the result set; where a run keeps a moving average of its weights the
    #: names of the average's sets end in `_ema`.
    sets: ResultSets
    #: The name of the set that is the method's answer: the average's, where there is
    #: one.
    answer: str


def find_poses(run: Run, *, workdir: Path | None, weights: Path | None) -> Predictions:
    """Run a model over the evaluated split; every process gets the poses of all.

    Args:
      run: resolved with a split.
      workdir: a run, of which the best checkpoint is taken (or, without one, the last).
      weights: weights to take instead.

    Raises:
      ValueError: if there is no model, it does not fit the config, or a batch does not
        fit into the devices' memory.
    """
    batches = run.eval_batches()
    evaluate = make_evaluator(run.method, run.mesh)
    models = _load(run, workdir, weights)
    sets: ResultSets = {}
    for suffix, variables in models.items():
        bar = tqdm.tqdm(total=len(batches.source), desc=f"poses{suffix}", unit="image")

        def show(done: int, bar: tqdm.tqdm = bar) -> None:
            bar.update(done - bar.n)

        with explaining_memory(EVALUATION_ADVICE), bar:
            prepared = run.inference_variables(variables)
            found = run_evaluation(evaluate, prepared, batches, run.mesh, progress=show)
        sets |= {f"{name}{suffix}": images for name, images in found.items()}
    return Predictions(sets, answer_set(run.method, models))


def answer_set(method: Method, suffixes: Collection[str]) -> str:
    """Name of the result set that is a model's answer: its average's, if it has one.

    The suffixes are what the names of its sets end in: `""`, or also `"_ema"`.
    """
    return f"{method.answer}{max(suffixes, key=len)}"


def score(truth: dict[str, Any], sets: ResultSets, protocol: Protocol) -> Rows:
    """The protocol's metrics of each result set, over the images that it holds."""
    category = keypoint_category(truth)
    return {
        name: protocol.evaluate(
            truth,
            to_coco(images, category_id=category),
            image_ids=[image.image_id for image in images],
        )
        for name, images in sets.items()
    }


def _load(run: Run, workdir: Path | None, weights: Path | None) -> dict[str, Variables]:
    """Variables to evaluate, by what the names of their result sets end in."""
    like = run.state_shapes()
    if weights is not None:
        _check_skeleton(weights, run.skeleton)
        loaded = load_weights(weights, expected=like.variables)
        return {"": jax.device_put(loaded, replicated(run.mesh))}
    assert workdir is not None
    if not workdir.is_dir():
        raise ValueError(f"{workdir}: got no such run, expected one of train.py")
    checkpoints = run.open_checkpoints(workdir, data=None)
    with contextlib.closing(checkpoints):
        state = checkpoints.restore_best(like)
    if state is None:
        raise ValueError(f"{workdir}: got no checkpoint, expected one of train.py")
    _LOG.info("checkpoint of step %d", int(state.step))
    return state.evaluated


def _check_skeleton(weights: Path, expected: Skeleton) -> None:
    """Check that a run's weights are for the keypoints of the data set.

    Of weights that do not tell, the shapes will show how many there are.
    """
    saved: dict[str, Any] = saved_settings(weights) or {}
    if "skeleton" not in saved:
        return
    trained = parse_skeleton(saved["skeleton"])
    if trained.settings() != expected.settings():
        raise MismatchError(
            f"{weights}: got weights for skeleton {trained.name!r} "
            f"({', '.join(trained.keypoints)}), expected them for {expected.name!r}, "
            "with the same keypoints, sigmas and flip pairs, as in the data set"
        )
