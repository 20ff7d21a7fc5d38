"""The training loop."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from logocap_jax.sharding import put_batch
from logocap_jax.structures import Batch
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.errors import DivergedError
from logocap_jax.training.metric_writer import MetricWriter, Stopwatch, progress_line
from logocap_jax.training.state import TrainState
from logocap_jax.training.step import Metrics, TrainStep

_LOG = logging.getLogger(__name__)

ArrayBatch = Mapping[str, Any]
Scores = Mapping[str, float]
Evaluate = Callable[[TrainState], Scores | None]

# Metrics of a step that are no losses.
_SKIPS = {"skipped_steps", "skipped_in_row"}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Length of training and intervals of what is done on the way."""

    num_steps: int  #: steps in all
    steps_per_epoch: int  #: steps in one epoch
    batch_size: int  #: images per step, over all devices
    log_every: int  #: steps between two lines of metrics; evaluations add theirs
    eval_every: int  #: steps between two evaluations; the end adds one
    checkpoint_every: int  #: steps between two checkpoints; evaluations add theirs
    #: Skipped steps in a row, where a line of metrics is due, that end the run.
    max_skipped_in_row: int
    learning_rate: optax.Schedule  #: updates made so far -> rate, for the log

    def logs_at(self, step: int) -> bool:
        """Tell if a line of metrics is due after a step."""
        return step % self.log_every == 0 or self.evaluates_at(step)

    def evaluates_at(self, step: int) -> bool:
        """Tell if an evaluation is due after a step."""
        return step > 0 and (step % self.eval_every == 0 or step == self.num_steps)

    def saves_at(self, step: int) -> bool:
        """Tell if a checkpoint is due after a step."""
        return step % self.checkpoint_every == 0 or self.evaluates_at(step)


def train(
    state: TrainState,
    train_step: TrainStep,
    batches: Iterator[ArrayBatch],
    evaluate: Evaluate,
    *,
    best_by: str,
    schedule: Schedule,
    checkpoints: Checkpoints,
    writer: MetricWriter,
    mesh: Mesh,
    make_batch: Callable[..., Any] = Batch,
    stop_requested: Callable[[int], bool] = lambda step: False,
) -> TrainState:
    """Train from the state's step to the end, or until asked to stop.

    Args:
      state: start; donated.
      train_step: the jitted step.
      batches: arrays named as `make_batch` takes them, from the state's step on.
      evaluate: scores a state, e.g. `{"eval/logocap/AP": 0.5}`; None if it was
        interrupted, which ends training, too.
      best_by: the score that selects the best checkpoint.
      schedule: lengths and intervals.
      checkpoints: of the run.
      writer: of metrics.
      mesh: devices.
      make_batch: makes of them what the step takes.
      stop_requested: asked after each step, with its number, if training ends there.

    Returns:
      The final state; it is saved, too.

    Raises:
      DivergedError: if too many steps in a row were skipped; the state is saved.
      SaveError: if a checkpoint cannot be written.
    """
    step = int(state.step)

    def score() -> bool:
        """Evaluate; False if that was broken off."""
        scores = evaluate(state)
        if scores is None:
            return False
        checkpoints.save_best(state, scores[best_by])
        # Last: for a run that goes on from here, the line tells that all this is done.
        writer.write(step, scores)
        return True

    # The evaluation that the run before was ended in.
    due = schedule.evaluates_at(step) and best_by not in writer.known
    stops = due and not score()
    pending: list[Metrics] = []  # on the device, read only when a line is written
    stopwatch = Stopwatch()
    while step < schedule.num_steps and not stops:
        began = time.perf_counter()
        arrays = next(batches)
        stopwatch.waited(time.perf_counter() - began)
        state, metrics = train_step(state, make_batch(**put_batch(arrays, mesh)))
        pending.append(metrics)
        step += 1
        stops = stop_requested(step)
        skipped_in_row = 0
        if stops or schedule.logs_at(step):
            skipped_in_row = _log(step, pending, stopwatch, schedule, writer)
            pending = []
        diverged = skipped_in_row >= schedule.max_skipped_in_row
        # Before the evaluation, which may take long.
        if stops or diverged or schedule.saves_at(step):
            checkpoints.save_last(state)
        if diverged:
            raise DivergedError(
                f"step {step}: got losses or gradients that are not finite in the last "
                f"{skipped_in_row} steps; these changed nothing, and the state is "
                "saved: go on from it with a lower learning rate"
            )
        if schedule.evaluates_at(step) and not stops:
            stops = not score()
            stopwatch = Stopwatch()
    return state


def _log(
    step: int,
    pending: list[Metrics],
    stopwatch: Stopwatch,
    schedule: Schedule,
    writer: MetricWriter,
) -> int:
    """Write a line on the pending steps; return how many of the last were skipped."""
    values = jax.device_get(pending)
    last = values[-1]
    taken = [value for value in values if not value["skipped_in_row"]]
    metrics = {
        name: float(np.mean([value[name] for value in taken or values]))
        for name in last
        if name not in _SKIPS
    }
    metrics["skipped_steps"] = int(last["skipped_steps"])
    updates = step - metrics["skipped_steps"]
    metrics["lr"] = float(schedule.learning_rate(max(updates - 1, 0)))
    metrics |= stopwatch.read(schedule.batch_size)
    writer.write(step, metrics)
    line = progress_line(step, schedule.num_steps, metrics, schedule.steps_per_epoch)
    _LOG.info("%s", line)
    return int(last["skipped_in_row"])
