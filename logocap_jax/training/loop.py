"""The training loop."""

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from logocap_jax.methods.base import Variables
from logocap_jax.sharding import put_batch
from logocap_jax.structures import Batch
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.metric_writer import MetricWriter, Stopwatch, progress_line
from logocap_jax.training.state import TrainState
from logocap_jax.training.step import Metrics, TrainStep

_LOG = logging.getLogger(__name__)

ArrayBatch = Mapping[str, np.ndarray]
Scores = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to train and what to do on the way.

    Attributes:
      num_steps: steps in all.
      steps_per_epoch: steps in one epoch.
      batch_size: images per step, over all devices.
      log_every: steps between two lines of metrics.
      eval_every: steps between two evaluations.
      checkpoint_every: steps between two checkpoints; evaluations add theirs.
      learning_rate: step -> rate, to log it.
    """

    num_steps: int
    steps_per_epoch: int
    batch_size: int
    log_every: int
    eval_every: int
    checkpoint_every: int
    learning_rate: optax.Schedule


def train(
    state: TrainState,
    train_step: TrainStep,
    batches: Iterator[ArrayBatch],
    evaluate: Callable[[Variables], Scores],
    *,
    best_by: str,
    schedule: Schedule,
    checkpoints: Checkpoints,
    writer: MetricWriter,
    mesh: Mesh,
) -> TrainState:
    """Train from the state's step to the end.

    Args:
      state: where to start; donated.
      train_step: the jitted step.
      batches: arrays named as the fields of `Batch`, from the state's step on.
      evaluate: scores variables, e.g. `{"eval/logocap/AP": 0.5}`.
      best_by: the score that tells the best checkpoint.
      schedule: lengths and intervals.
      checkpoints: where states are saved.
      writer: where metrics go.
      mesh: devices.

    Returns:
      The final state; it is saved, too.

    Raises:
      ValueError: if the loss is NaN or infinite where it is logged or saved; the
        checkpoints from before stay.
    """
    pending: list[Metrics] = []  # on the device, read only when a line is written
    stopwatch = Stopwatch()
    for step in itertools.count(int(state.step) + 1):
        if step > schedule.num_steps:
            return state
        began = time.perf_counter()
        arrays = next(batches)
        stopwatch.waited(time.perf_counter() - began)
        state, metrics = train_step(state, Batch(**put_batch(arrays, mesh)))
        pending.append(metrics)
        last = step == schedule.num_steps
        evaluates = step % schedule.eval_every == 0 or last
        if step % schedule.log_every == 0 or evaluates:
            _log(step, pending, stopwatch, schedule, writer)
            pending = []
        if evaluates:
            scores = evaluate(state.variables)
            writer.write(step, scores)
            checkpoints.save_best(state, scores[best_by])
            stopwatch = Stopwatch()
        # After the evaluation: a run killed in it does it again.
        if evaluates or step % schedule.checkpoint_every == 0:
            _check_finite(step, metrics)
            checkpoints.save_last(state)
    raise AssertionError("unreachable: the loop above ends by return")


def _check_finite(step: int, metrics: Metrics) -> None:
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    if not math.isfinite(values["total"]):
        terms = [name for name, value in values.items() if not math.isfinite(value)]
        raise ValueError(
            f"step {step}: got a loss that is not finite ({', '.join(terms)}), so this "
            "state is not saved; lower the learning rate and go on from the last "
            "checkpoint"
        )


def _log(
    step: int,
    pending: list[Metrics],
    stopwatch: Stopwatch,
    schedule: Schedule,
    writer: MetricWriter,
) -> None:
    _check_finite(step, pending[-1])
    values = jax.device_get(pending)
    metrics = {
        f"loss/{name}": float(np.mean([value[name] for value in values]))
        for name in values[0]
    }
    metrics["lr"] = float(schedule.learning_rate(step - 1))
    metrics |= stopwatch.read(schedule.batch_size)
    writer.write(step, metrics)
    line = progress_line(step, schedule.num_steps, metrics, schedule.steps_per_epoch)
    _LOG.info("%s", line)
