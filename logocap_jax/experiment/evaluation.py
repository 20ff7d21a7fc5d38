"""Evaluate as a config says: scores, result files, pictures."""

import contextlib
import dataclasses
import logging
from pathlib import Path

import jax
import tqdm
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.images import decode_image
from data_pipeline.sources import Source
from logocap_jax import skeletons
from logocap_jax.convert.files import load_weights
from logocap_jax.evaluation.coco import keypoint_category
from logocap_jax.evaluation.results import write_results
from logocap_jax.evaluation.runner import ResultSets, jit_evaluate, run_evaluation
from logocap_jax.evaluation.table import format_table, write_metrics
from logocap_jax.experiment import build
from logocap_jax.methods.base import Method, Variables
from logocap_jax.sharding import check_batch_size, make_mesh, replicated
from logocap_jax.visualization.curves import draw_curves
from logocap_jax.visualization.overlay import draw_poses, write_image

_LOG = logging.getLogger(__name__)


def evaluate_from_config(
    config: ConfigDict,
    *,
    workdir: Path | None,
    weights: Path | None,
    out: Path,
    split: str,
    num_drawn: int = 0,
) -> None:
    """Score a model on a split; print the table, write files (one process does).

    Args:
      config: see `configs/common.py`.
      workdir: a run, whose best checkpoint is evaluated (or, without one, the last).
      weights: weights to evaluate instead.
      out: folder for `metrics.json`, `results_*.json`, `overlays/` and, for a run,
        `loss_curve.png`.
      split: `train` or `val`.
      num_drawn: images to draw overlays of.

    Raises:
      ValueError: if there is nothing to evaluate, or it does not fit the config.
    """
    mesh = make_mesh()
    check_batch_size(config.eval.batch_size, mesh, name="eval.batch_size")
    method = build.make_method(config)
    variables = _load(config, method, mesh, workdir, weights)
    batches = build.make_batches(config, split)
    truth = build.load_truth(config, split)
    with tqdm.tqdm(total=len(batches.source), desc=split, unit="image") as bar:
        sets = run_evaluation(
            jit_evaluate(method, mesh),
            variables,
            batches,
            mesh,
            progress=lambda done: bar.update(done - bar.n),
        )
    rows = build.score(truth, sets)
    if jax.process_index() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    _LOG.info("%d images of %s\n%s", len(batches.source), split, format_table(rows))
    write_metrics(out / "metrics.json", rows)
    for name, images in sets.items():
        write_results(
            out / f"results_{name}.json", images, category_id=keypoint_category(truth)
        )
    if workdir is not None:
        draw_curves(workdir / "metrics.jsonl", out / "loss_curve.png")
    _draw(batches.source, sets, method.result, out / "overlays", num_drawn)


def _load(
    config: ConfigDict,
    method: Method,
    mesh: Mesh,
    workdir: Path | None,
    weights: Path | None,
) -> Variables:
    like = build.state_shapes(config, method, mesh)
    if weights is not None:
        loaded = load_weights(weights, expected=like.variables)
        return jax.device_put(loaded, replicated(mesh))
    assert workdir is not None
    if not workdir.is_dir():
        raise ValueError(f"{workdir}: got no such run, expected one of train.py")
    checkpoints = build.open_checkpoints(config, workdir, data=None)
    with contextlib.closing(checkpoints):
        state = checkpoints.restore_best(like)
    if state is None:
        raise ValueError(f"{workdir}: got no checkpoint, expected one of train.py")
    _LOG.info("checkpoint of step %d", int(state.step))
    return state.variables


def _draw(
    source: Source, sets: ResultSets, result: str, folder: Path, count: int
) -> None:
    """Draw the first images: the answer thick, the initial poses thin."""
    if not count:
        return
    folder.mkdir(parents=True, exist_ok=True)
    answers = {poses.image_id: poses for poses in sets[result]}
    for position in range(min(count, len(source))):
        record = source[position]
        answer = answers[record.image_id]
        initial = answer.initial_keypoints
        overlay = draw_poses(
            decode_image(record),
            answer,
            dataclasses.replace(answer, keypoints=initial)
            if result != "initial" and initial is not None
            else None,
            skeleton=skeletons.COCO,
        )
        write_image(folder / f"{record.image_id:012d}.png", overlay)
    _LOG.info("%d overlays in %s", min(count, len(source)), folder)
