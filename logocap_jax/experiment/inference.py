"""The poses that a config's model finds in a split."""

import contextlib
import dataclasses
import functools
import logging
from pathlib import Path

import jax
import tqdm
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.eval_batches import EvalBatches
from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.runner import ResultSets, make_evaluator, run_evaluation
from logocap_jax.experiment import build
from logocap_jax.methods.base import Method, Variables
from logocap_jax.sharding import check_batch_size, make_mesh, replicated
from logocap_jax.skeletons import parse_skeleton
from logocap_jax.training.errors import MismatchError
from logocap_jax.weights.files import load_weights
from logocap_jax.weights.settings import saved_settings

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Found:
    """Poses of all images of a split.

    Attributes:
      sets: by name of the result set; where a run keeps a moving average of its
        weights its sets' names end in `_ema`.
      answer: the name of the set that is the method's answer: the average's, where
        there is one.
    """

    sets: ResultSets
    answer: str


def find_poses(
    config: ConfigDict,
    batches: EvalBatches,
    *,
    workdir: Path | None,
    weights: Path | None,
) -> Found:
    """Run a model over batches; every process gets the poses of all.

    Args:
      config: see `configs/common.py`.
      batches: of a split, see `build.make_batches`.
      workdir: a run, of which the best checkpoint is taken (or, without one, the last).
      weights: weights to take instead.

    Raises:
      ValueError: if there is no model, it does not fit the config, or a batch does not
        fit into the devices' memory.
    """
    mesh = make_mesh()
    check_batch_size(config.eval.batch_size, mesh, name="eval.batch_size")
    method = build.make_method(config)
    evaluate = make_evaluator(method, mesh)
    sets: ResultSets = {}
    suffix = ""
    for suffix, variables in _load(config, method, mesh, workdir, weights).items():
        with (
            explaining_memory(build.EVALUATION_ADVICE),
            tqdm.tqdm(
                total=len(batches.source), desc=f"poses{suffix}", unit="image"
            ) as bar,
        ):
            found = run_evaluation(
                evaluate,
                build.inference_variables(method, variables, mesh),
                batches,
                mesh,
                progress=functools.partial(_show_progress, bar),
            )
        sets |= {f"{name}{suffix}": images for name, images in found.items()}
    return Found(sets, f"{method.answer}{suffix}")


def _show_progress(bar: tqdm.tqdm, done: int) -> None:
    bar.update(done - bar.n)


def _load(
    config: ConfigDict,
    method: Method,
    mesh: Mesh,
    workdir: Path | None,
    weights: Path | None,
) -> dict[str, Variables]:
    """Variables to evaluate, by what their result sets' names end in."""
    like = build.state_shapes(config, method, mesh)
    if weights is not None:
        _check_skeleton(weights, config)
        loaded = load_weights(weights, expected=like.variables)
        return {"": jax.device_put(loaded, replicated(mesh))}
    assert workdir is not None
    if not workdir.is_dir():
        raise ValueError(f"{workdir}: got no such run, expected one of train.py")
    checkpoints = build.open_checkpoints(config, workdir, data=None)
    with contextlib.closing(checkpoints):
        state = checkpoints.restore_best(like)
    if state is None:
        raise ValueError(f"{workdir}: got no checkpoint, expected one of train.py")
    _LOG.info("checkpoint of step %d", int(state.step))
    return state.evaluated


def _check_skeleton(weights: Path, config: ConfigDict) -> None:
    """Check that a run's weights are for the keypoints of the data set.

    Of weights that do not tell, the shapes will show how many there are.
    """
    saved = saved_settings(weights) or {}
    if "skeleton" not in saved:
        return
    trained, given = parse_skeleton(saved["skeleton"]), build.skeleton_of(config)
    if trained.settings() != given.settings():
        raise MismatchError(
            f"{weights}: got weights for skeleton {trained.name!r} "
            f"({', '.join(trained.keypoints)}), expected them for {given.name!r}, with "
            "the same keypoints, sigmas and flip pairs, as in the data set"
        )
