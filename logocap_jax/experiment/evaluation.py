"""The poses that a run's model finds: scores, result files, pictures, submissions."""

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tqdm

from data_pipeline.feed.eval_batches import EvalBatches
from data_pipeline.read.images import decode_image
from data_pipeline.read.sources import Source
from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.analysis import KINDS
from logocap_jax.evaluation.coco import keypoint_category
from logocap_jax.evaluation.error_report import format_reports, report_errors
from logocap_jax.evaluation.protocol import Protocol, format_table, write_metrics
from logocap_jax.evaluation.results import (
    check_algorithm_name,
    to_coco,
    write_json,
    write_results,
    write_submission,
)
from logocap_jax.evaluation.runner import (
    Evaluator,
    ResultSets,
    make_evaluator,
    run_evaluation,
)
from logocap_jax.experiment.crops import gather_people
from logocap_jax.experiment.run import EVALUATION_ADVICE, Run
from logocap_jax.methods.base import Method, Variables
from logocap_jax.processes import StopRequest
from logocap_jax.sharding import replicated
from logocap_jax.skeletons import Skeleton, parse_skeleton
from logocap_jax.training.errors import MismatchError
from logocap_jax.visualization.charts import draw_curves, draw_error_chart
from logocap_jax.visualization.overlay import draw_poses, write_image
from logocap_jax.weights.files import load_weights
from logocap_jax.weights.named import find_named, find_weights
from logocap_jax.weights.settings import saved_settings, saved_stage

_LOG = logging.getLogger(__name__)

Rows = dict[str, dict[str, float | None]]


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

    The model is found as in `evaluate`.

    Raises:
      ValueError: if there is no model, it does not fit the config, or a batch does not
        fit into the devices' memory.
    """
    batches = run.eval_batches()
    evaluate = make_evaluator(run.method, run.mesh)
    models = _load(run, workdir, weights)
    sets: ResultSets = {}
    for suffix, variables in models.items():
        images_by_set = show_evaluation(
            run, evaluate, variables, batches, title=f"poses{suffix}"
        )
        sets |= {f"{name}{suffix}": images for name, images in images_by_set.items()}
    return Predictions(sets, answer_set(run.method, models))


def show_evaluation(
    run: Run,
    evaluator: Evaluator,
    variables: Variables,
    batches: EvalBatches,
    *,
    title: str,
    stop: StopRequest | None = None,
) -> ResultSets:
    """As `run_evaluation`, with a bar; variables are not prepared yet.

    Raises:
      ValueError: if a batch does not fit into the devices' memory.
    """
    until_stop = itertools.takewhile(lambda _: not (stop and stop.signal), batches)
    bar = tqdm.tqdm(total=len(batches.source), desc=title, unit="image")
    with explaining_memory(EVALUATION_ADVICE), bar:
        sets = run_evaluation(
            evaluator,
            run.inference_variables(variables),
            until_stop,
            run.mesh,
            progress=bar.update,
        )
    return gather_people(sets, batches, run.inputs, run.skeleton)


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
    if workdir is not None:
        # States have another form in each stage.
        run = run.in_stage(saved_stage(workdir) or run.settings.stage)
    like = run.state_shapes()
    if weights is not None:
        _tell_settings(weights, run)
        weights = find_weights(weights)
        _check_skeleton(weights, run.skeleton)
        parts = [part for part in run.method.parts if part.optional]
        optional = [path for part in parts for path in part.paths]
        loaded = load_weights(weights, expected=like.variables, optional=optional)
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
    return state.variables_by_suffix


def _tell_settings(weights: Path, run: Run) -> None:
    """Say where public weights were scored with other settings than a run has."""
    named = find_named(weights)
    for name, value in (named.settings if named else {}).items():
        if (got := run.values["method"].get(name)) != value:
            _LOG.warning(
                "%s: its AP is stated with method.%s=%s, this run has %s",
                *(weights, name, value, got),
            )


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


def evaluate(
    run: Run,
    out: Path,
    *,
    workdir: Path | None,
    weights: Path | None,
    num_drawn: int = 0,
    people_only: bool = False,
    analyse: bool = False,
    crowd_thresholds: tuple[float, float] | None = None,
) -> None:
    """Score a model on a split; print the table, write files (one process does).

    Args:
      run: resolved with a split that has annotations.
      out: folder for `metrics.json`, `protocol.json` (what the scores depend on),
        `results_*.json`, `overlays/` and, for a run, `loss_curve.png`.
      workdir: a run, whose best checkpoint is evaluated (or, without one, the last);
        where it keeps a moving average of its weights both are, the average under
        names that end in `_ema`.
      weights: weights to evaluate instead.
      num_drawn: images to draw overlays of.
      people_only: leave out images in which nobody has labelled keypoints, as in
        Table 1 of the LOGO-CAP paper; poses found in them are not wrong then.
      analyse: tell where poses are wrong, too: `errors.json` and `errors.png`.
      crowd_thresholds: see `Protocol`.

    Raises:
      ValueError: if there is nothing to evaluate, or it does not fit the config.
    """
    source = run.eval_source
    assert source is not None
    protocol = Protocol(run.skeleton, crowd_thresholds)
    truth = run.truth()
    predictions = find_poses(run, workdir=workdir, weights=weights)
    sets = predictions.sets
    scored = _where_people_are(sets, truth) if people_only else sets
    rows = score(truth, scored, protocol)
    if jax.process_index() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    table = format_table(rows, protocol.columns)
    number = len(scored[predictions.answer])
    _LOG.info("%d images of %s; %s\n%s", number, run.split, protocol.note, table)
    write_metrics(out / "metrics.json", rows)
    about = {"note": protocol.note, "skeleton": dataclasses.asdict(run.skeleton)}
    write_json(out / "protocol.json", about, indent=2)
    category = keypoint_category(truth)
    for name, images in sets.items():
        write_results(out / f"results_{name}.json", images, category_id=category)
    if workdir is not None:
        draw_curves(workdir / "metrics.jsonl", out / "loss_curve.png")
    if analyse:
        _write_error_analysis(run, truth, scored, out)
    if num_drawn:
        _draw(source, predictions, out / "overlays", min(num_drawn, len(source)))


def submit_test_dev(
    run: Run,
    out: Path,
    *,
    workdir: Path | None,
    weights: Path | None,
    algorithm: str,
) -> None:
    """Find the poses of COCO's test-dev and write what its server takes.

    The run is resolved with the split `test-dev`: its data folder holds
    `annotations/image_info_test-dev2017.json` and `test2017/`. One process writes.
    Nothing is scored: nobody has the annotations. `algorithm` is the method's name in
    the submission; all else is as in `evaluate`.

    Raises:
      ValueError: if there is no model, it does not fit the config, images are not
        there, or the name cannot be part of a file's.
    """
    check_algorithm_name(algorithm)
    predictions = find_poses(run, workdir=workdir, weights=weights)
    if jax.process_index() > 0:
        return
    out.mkdir(parents=True, exist_ok=True)
    images = predictions.sets[predictions.answer]
    path = write_submission(out, images, algorithm=algorithm)
    _LOG.info("%d images of test-dev: %s", len(images), path)


def _where_people_are(sets: ResultSets, truth: dict[str, Any]) -> ResultSets:
    """The poses of images where somebody has labelled keypoints."""
    people = [person for person in truth["annotations"] if person["num_keypoints"] > 0]
    known = {person["image_id"] for person in people}
    return {
        name: [image for image in images if image.image_id in known]
        for name, images in sets.items()
    }


def _write_error_analysis(
    run: Run, truth: dict[str, Any], sets: ResultSets, out: Path
) -> None:
    """Log the table; write `errors.json` and `errors.png`.

    Sets that are made with the truth are left out: their errors are nobody's.
    """
    category, oracles = keypoint_category(truth), run.method.oracles
    reports = {
        name: report_errors(
            truth,
            to_coco(images, category_id=category),
            run.skeleton,
            image_ids=[image.image_id for image in images],
        )
        for name, images in sets.items()
        if name.removesuffix("_ema") not in oracles
    }
    _LOG.info("errors\n%s", format_reports(reports))
    content = {name: dataclasses.asdict(report) for name, report in reports.items()}
    write_json(out / "errors.json", content, indent=2)
    shares = {name: report.shares() for name, report in reports.items()}
    panels = {
        "errors, of all keypoints": {
            name: {kind: share[kind] for kind in KINDS[1:]}
            for name, share in shares.items()
        },
        "AP by square root of area, px": {n: r.by_size for n, r in reports.items()},
        "AP by people in the image": {n: r.by_people for n, r in reports.items()},
        "AP by keypoint": {n: r.by_keypoint for n, r in reports.items()},
    }
    draw_error_chart(panels, out / "errors.png")


def _draw(source: Source, predictions: Predictions, folder: Path, count: int) -> None:
    """Draw the first images: the answer thick, its initial poses, if any, thin."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {poses.image_id: poses for poses in predictions.sets[predictions.answer]}
    for position in range(count):
        record = source[position]
        answer = answers[record.image_id]
        initial = answer.initial_keypoints
        thin = None
        if initial is not None:
            thin = dataclasses.replace(answer, keypoints=initial)
        overlay = draw_poses(
            decode_image(record), answer, thin, skeleton=source.skeleton
        )
        write_image(folder / f"{record.image_id:012d}.png", overlay)
    _LOG.info("%d overlays in %s", count, folder)
