"""Train a run."""

import contextlib
import itertools
import logging
import signal
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from data_pipeline.feed.examples import Example
from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.protocol import Protocol, format_table
from logocap_jax.evaluation.runner import make_evaluator, run_evaluation
from logocap_jax.experiment.crops import gather_people
from logocap_jax.experiment.evaluation import Rows, answer_set, score
from logocap_jax.experiment.pose_rows import load_or_find_rows, row_batches
from logocap_jax.experiment.run import EVALUATION_ADVICE, TRAINING_ADVICE, Run
from logocap_jax.processes import StopRequest, check_same, stop_on_signals
from logocap_jax.structures import Batch, LabelledPoses
from logocap_jax.training.errors import as_data_error
from logocap_jax.training.loop import Evaluate, Schedule
from logocap_jax.training.loop import train as train_loop
from logocap_jax.training.metric_writer import MetricWriter
from logocap_jax.training.state import TrainState

_LOG = logging.getLogger(__name__)


def train(run: Run, workdir: Path) -> signal.Signals | None:
    """Train a run, from the last checkpoint in `workdir` if there is one.

    The run is resolved with `train=True`; the folder is made if it is not there. A
    stage that learns from a model's poses finds them first, see `load_or_find_rows`.

    Returns:
      The signal that ended it early, with its state saved; None if it came to its end.

    Raises:
      ValueError: if settings, data or a checkpoint do not fit together, or a batch
        not into the devices' memory. See `training/errors.py`.
      OSError: if the disk is full, or an input worker has died.
    """
    fingerprint = run.fingerprint()
    check_same("training data", fingerprint)
    run.make_step()  # checks settings
    with contextlib.ExitStack() as stack:
        stack.enter_context(explaining_memory(TRAINING_ADVICE))
        stop = stack.enter_context(stop_on_signals())
        evaluate = _make_evaluator(run, stop)
        workdir.mkdir(parents=True, exist_ok=True)
        checkpoints = run.open_checkpoints(workdir, data=fingerprint)
        stack.callback(checkpoints.close)
        state = checkpoints.restore_last(run.state_shapes()) or run.fresh_state()
        start_step = int(state.step)
        feed = _open_feed(run, state, workdir, stop)
        if feed is None:
            return _report_search_stopped(stop)
        stack.callback(feed.batches.close)
        schedule = _make_schedule(feed.run)
        _report_start(feed.run, state, schedule)
        writes = jax.process_index() == 0
        writer = MetricWriter(workdir, first_step=start_step, writes=writes)
        stack.callback(writer.close)
        state = train_loop(
            state,
            feed.run.make_step(),
            feed.batches,
            evaluate,
            best_by=f"eval/{answer_set(run.method, state.variables_by_suffix)}/AP",
            schedule=schedule,
            checkpoints=checkpoints,
            writer=writer,
            mesh=run.mesh,
            make_batch=feed.make_batch,
            stop_requested=stop,
        )
    if stop.signal is not None:
        _LOG.info(
            "%s: step %d of %d is saved in %s; run the same command again to go on",
            stop.signal.name,
            int(state.step),
            schedule.num_steps,
            workdir,
        )
    return stop.signal


def _make_schedule(run: Run) -> Schedule:
    settings, steps = run.settings, run.steps_per_epoch
    return Schedule(
        num_steps=max(round(settings.epochs * steps), 1),
        steps_per_epoch=steps,
        batch_size=settings.batch_size,
        log_every=settings.log_every,
        eval_every=max(round(settings.eval_every * steps), 1),
        checkpoint_every=max(round(settings.checkpoint_every * steps), 1),
        max_skipped_in_row=settings.max_skipped_in_row,
        learning_rate=run.learning_rate,
    )


class _Feed(NamedTuple):
    """Batches of a stage of training, from a state on.

    Attributes:
      run: the run with the number of steps in an epoch.
      batches: arrays by name, without end.
      make_batch: makes of them what the stage's loss takes.
    """

    run: Run
    batches: Generator[Mapping[str, Any], None, None]
    make_batch: Callable[..., Any]


def _open_feed(
    run: Run, state: TrainState, workdir: Path, stop: StopRequest
) -> _Feed | None:
    """The batches of a run's stage; None if asked to stop before they are there."""
    stage, start_step = run.method.train_stage(run.settings.stage), int(state.step)
    if stage.learns_from is None:
        return _Feed(run, _image_batches(run, start_step=start_step), Batch)
    rows = load_or_find_rows(run, stage.learns_from, state.variables, workdir, stop)
    if rows is None:
        return None
    batches = row_batches(
        rows,
        batch_size=run.settings.batch_size,
        seed=run.settings.seed,
        start_step=start_step,
    )
    return _Feed(run.with_epochs_of(rows.oks.size), batches, LabelledPoses)


def _image_batches(run: Run, *, start_step: int) -> Generator[Example, None, None]:
    source = run.train_source
    assert source is not None
    batches = run.train_batches(source, start_step=start_step)

    def checked() -> Generator[Example, None, None]:
        with as_data_error():
            yield from batches

    return checked()


def _report_search_stopped(stop: StopRequest) -> signal.Signals | None:
    if stop.signal is not None:
        _LOG.info(
            "%s: nothing is saved yet; the same command finds the poses anew",
            stop.signal.name,
        )
    return stop.signal


def _report_start(run: Run, state: TrainState, schedule: Schedule) -> None:
    assert run.train_source is not None
    step = int(state.step)
    _LOG.info(
        "%s parameters, %d images, %d devices; %s of %d",
        f"{sum(leaf.size for leaf in jax.tree.leaves(state.params)):,}",
        len(run.train_source),
        run.mesh.devices.size,
        f"going on after step {step}" if step else "from step 0",
        schedule.num_steps,
    )


def _make_evaluator(run: Run, stop: StopRequest) -> Evaluate:
    """State -> flat scores on the evaluated split; None if asked to stop."""
    batches = run.eval_batches()
    with as_data_error():
        truth = run.truth()
    protocol = Protocol(run.skeleton)
    evaluate = make_evaluator(run.method, run.mesh)

    def score_state(state: TrainState) -> dict[str, float] | None:
        rows: Rows = {}
        for suffix, variables in state.variables_by_suffix.items():
            until_stop = itertools.takewhile(lambda _: stop.signal is None, batches)
            prepared = run.inference_variables(variables)
            with explaining_memory(EVALUATION_ADVICE):
                sets = run_evaluation(evaluate, prepared, until_stop, run.mesh)
            if stop.signal is not None:
                return None
            sets = gather_people(sets, batches, run.inputs, run.skeleton)
            scored = score(truth, sets, protocol)
            rows |= {f"{name}{suffix}": row for name, row in scored.items()}
        table = format_table(rows, protocol.columns)
        _LOG.info("evaluation on %s; %s\n%s", run.split, protocol.note, table)
        return {
            f"eval/{name}/{metric}": value
            for name, row in rows.items()
            for metric, value in row.items()
            if value is not None
        }

    return score_state
