"""The poses that a stage of training learns from: found once, kept beside the run."""

import dataclasses
import hashlib
import itertools
import json
import logging
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from logocap_jax.atomic import replacing
from logocap_jax.evaluation.labelled_poses import PoseRows, label_poses
from logocap_jax.evaluation.runner import make_evaluator
from logocap_jax.experiment.evaluation import show_evaluation
from logocap_jax.experiment.run import Run
from logocap_jax.methods import marked_settings
from logocap_jax.methods.base import Method, Variables
from logocap_jax.processes import StopRequest, gather_rows, is_first
from logocap_jax.training.checkpoint_folder import differences
from logocap_jax.training.errors import MismatchError, SaveError, as_data_error
from logocap_jax.weights.trees import flatten, unflatten

FILE = "poses.npz"
_MADE_WITH = "made_with"

_LOG = logging.getLogger(__name__)


def load_or_find_rows(
    run: Run, finder: Method, variables: Variables, workdir: Path, stop: StopRequest
) -> PoseRows | None:
    """The labelled poses of a model on the images that a run trains on.

    They are kept in `workdir`, and taken from there if the same weights, settings and
    data have made them.

    Args:
      run: resolved with `train=True`; its size of test images is theirs.
      finder: the method that finds them.
      variables: those of `finder`, among others.
      workdir: folder of the run.
      stop: a request ends the search.

    Returns:
      None if it was stopped.

    Raises:
      DataError: if annotations cannot be scored.
      MismatchError: if others have made those that are kept.
      SaveError: if they cannot be written.
      ValueError: if the file is damaged, or holds too few rows for one batch.
    """
    path, own = workdir / FILE, _variables_of(finder, variables)
    made_with = _made_with(run, own)
    # All processes search, or none.
    if gather_rows(np.asarray([path.is_file()])).all():
        rows = _read(path, made_with)
    else:
        found = _find(run, finder, own, stop)
        if found is None:
            return None
        rows = found
        if is_first():
            _write(path, rows, made_with)
    count, batch_size = rows.oks.size, run.settings.batch_size
    _LOG.info("%d rows of %d poses in %s", count, len(rows.oks), path)
    if count < batch_size:
        raise ValueError(
            f"{path}: got {count} rows to learn from, expected batch_size={batch_size} "
            "or more; use a smaller batch_size, or more images"
        )
    return rows


def row_batches(
    rows: PoseRows, *, batch_size: int, seed: int, start_step: int = 0
) -> Generator[dict[str, np.ndarray], None, None]:
    """Batches of this process, without end: fields of `LabelledPoses`.

    A row is a pose in one range of areas. Each epoch has an order of its own; what is
    left at its end and fills no batch is dropped.
    """
    ranges = rows.oks.shape[1]
    steps_per_epoch = rows.oks.size // batch_size
    share = batch_size // jax.process_count()
    first = jax.process_index() * share
    order, order_of = np.empty(0, int), -1
    for step in itertools.count(start_step):
        epoch, position = divmod(step, steps_per_epoch)
        if epoch != order_of:
            order = np.random.default_rng((seed, epoch)).permutation(rows.oks.size)
            order_of = epoch
        start = position * batch_size + first
        pose, area_range = np.divmod(order[start : start + share], ranges)
        yield {
            "keypoints": rows.keypoints[pose],
            "keypoint_scores": rows.keypoint_scores[pose],
            "oks": rows.oks[pose, area_range].astype(np.float32),
        }


def _variables_of(method: Method, variables: Variables) -> Variables:
    """Those of a method among the variables of a larger one."""
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    arrays = flatten(variables)
    return {
        collection: unflatten(
            {path: arrays[f"{collection}/{path}"] for path in flatten(tree)}
        )
        for collection, tree in shapes.items()
    }


def _find(
    run: Run, finder: Method, variables: Variables, stop: StopRequest
) -> PoseRows | None:
    finding = dataclasses.replace(
        run,
        method=finder,
        eval_source=run.train_source,
        inputs=run.inputs._replace(scales=()),
    )
    with as_data_error():
        truth = finding.truth()
    evaluator = make_evaluator(finder, run.mesh)
    sets = show_evaluation(
        finding,
        evaluator,
        variables,
        finding.eval_batches(),
        title="poses to learn from",
        stop=stop,
    )
    if stop.signal is not None:
        return None
    return label_poses(truth, sets[finder.answer], run.skeleton.sigmas)


def _made_with(run: Run, variables: Variables) -> dict[str, Any]:
    """All that rows depend on, as JSON holds it."""
    digest = hashlib.sha256()
    for path, leaf in sorted(flatten(variables).items()):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(leaf).data)
    method = flatten(run.values["method"])
    for key in marked_settings(run.values["method"]["name"], "free"):
        method.pop(key.replace(".", "/"), None)
    content = {
        "weights": digest.hexdigest()[:16],
        "data": run.fingerprint(),
        "method": unflatten(method),
        "skeleton": run.skeleton.settings(),
        "eval.short_side": run.settings.eval.short_side,
    }
    return json.loads(json.dumps(content))


def _write(path: Path, rows: PoseRows, made_with: dict[str, Any]) -> None:
    arrays = {**rows._asdict(), _MADE_WITH: np.asarray(json.dumps(made_with))}
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    except OSError as error:
        raise SaveError(
            f"{path}: could not write the poses: {error}; free some space, then run "
            "the same command again"
        ) from error


def _read(path: Path, made_with: dict[str, Any]) -> PoseRows:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            saved = json.loads(str(file[_MADE_WITH]))
            rows = PoseRows(*(file[name] for name in PoseRows._fields))
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: got a damaged file ({' '.join(str(error).split()):.80}), "
            "expected poses as they were found; remove it, and they are found again"
        ) from error
    if differing := differences(saved, made_with):
        raise MismatchError(
            f"{path} was made with {', '.join(differing)}; use these, or another "
            "--workdir"
        )
    return rows
