"""Evaluate as a config says: scores, result files, pictures."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from data_pipeline.read.images import decode_image
from data_pipeline.read.sources import Source
from logocap_jax.evaluation.coco import keypoint_category
from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.results import write_json, write_results
from logocap_jax.evaluation.runner import ResultSets
from logocap_jax.evaluation.table import format_table, write_metrics
from logocap_jax.experiment import build
from logocap_jax.experiment.error_analysis import write_error_analysis
from logocap_jax.experiment.inference import find_poses
from logocap_jax.visualization.charts import draw_curves
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
    people_only: bool = False,
    analyse: bool = False,
    crowd_thresholds: tuple[float, float] | None = None,
) -> None:
    """Score a model on a split; print the table, write files (one process does).

    Args:
      config: see `configs/common.py`.
      workdir: a run, whose best checkpoint is evaluated (or, without one, the last);
        where it keeps a moving average of its weights both are, the average under
        names that end in `_ema`.
      weights: weights to evaluate instead.
      out: folder for `metrics.json`, `protocol.json` (what the scores depend on),
        `results_*.json`, `overlays/` and, for a run, `loss_curve.png`.
      split: `train`, `val` or `test`, if it has annotations.
      num_drawn: images to draw overlays of.
      people_only: leave out images in which nobody has labelled keypoints, as in
        Table 1 of the LOGO-CAP paper; what is found in them is not wrong then.
      analyse: say where poses are wrong, too: `errors.json` and `errors.png`.
      crowd_thresholds: see `Protocol`.

    Raises:
      ValueError: if there is nothing to evaluate, or it does not fit the config.
    """
    batches = build.make_batches(config, split)
    skeleton = batches.source.skeleton
    protocol = Protocol(skeleton, crowd_thresholds)
    truth = build.load_truth(config, split)
    found = find_poses(config, batches, workdir=workdir, weights=weights)
    scored = _where_people_are(found.sets, truth) if people_only else found.sets
    rows = build.score(truth, scored, protocol)
    if jax.process_index() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    table = format_table(rows, protocol.columns)
    number = len(scored[found.answer])
    _LOG.info("%d images of %s; %s\n%s", number, split, protocol.note, table)
    write_metrics(out / "metrics.json", rows)
    about = {"note": protocol.note, "skeleton": dataclasses.asdict(skeleton)}
    write_json(out / "protocol.json", about, indent=2)
    for name, images in found.sets.items():
        write_results(
            out / f"results_{name}.json", images, category_id=keypoint_category(truth)
        )
    if workdir is not None:
        draw_curves(workdir / "metrics.jsonl", out / "loss_curve.png")
    if analyse:
        write_error_analysis(truth, scored, skeleton, out)
    _draw(batches.source, found.sets, found.answer, out / "overlays", num_drawn)


def _where_people_are(sets: ResultSets, truth: dict[str, Any]) -> ResultSets:
    """What was found in images where somebody has labelled keypoints."""
    people = [person for person in truth["annotations"] if person["num_keypoints"] > 0]
    known = {person["image_id"] for person in people}
    return {
        name: [image for image in images if image.image_id in known]
        for name, images in sets.items()
    }


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
            if not result.startswith("initial") and initial is not None
            else None,
            skeleton=source.skeleton,
        )
        write_image(folder / f"{record.image_id:012d}.png", overlay)
    _LOG.info("%d overlays in %s", min(count, len(source)), folder)
