"""Train as a config says."""

import contextlib
import itertools
import logging
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.augment import Augmentation
from data_pipeline.feed.examples import Example
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import Source, open_source
from logocap_jax.device_memory import explaining_memory
from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.runner import make_evaluator, run_evaluation
from logocap_jax.evaluation.table import format_table
from logocap_jax.experiment import build
from logocap_jax.methods.base import Method
from logocap_jax.processes import check_same
from logocap_jax.sharding import check_batch_size, make_mesh
from logocap_jax.training.errors import DataError, WorkerError
from logocap_jax.training.loop import Evaluate, Schedule, train
from logocap_jax.training.metric_writer import MetricWriter
from logocap_jax.training.signals import StopRequest, stop_on_signals
from logocap_jax.training.state import TrainState

_LOG = logging.getLogger(__name__)


def train_from_config(config: ConfigDict, workdir: Path) -> signal.Signals | None:
    """Train as the config says, from the last checkpoint in `workdir` if any.

    Args:
      config: see `configs/common.py`.
      workdir: folder of the run; made if it is not there.

    Returns:
      The signal that ended it early, with its state saved; None if it came to its end.

    Raises:
      ValueError: if the config, the data or a checkpoint do not fit together, or a
        batch not into the devices' memory; one line says what was got and what is
        possible. See `training/errors.py`.
      OSError: if the disk is full.
    """
    mesh = make_mesh()
    build.check_numbers(config.to_dict())
    check_same("config", config.to_dict())
    check_batch_size(config.batch_size, mesh, name="batch_size")
    check_batch_size(config.eval.batch_size, mesh, name="eval.batch_size")
    method = build.make_method(config)
    source = open_source(
        build.data_dir(config),
        config.data.train_split,
        with_people_only=True,
    )
    data = build.data_fingerprint(config)
    check_same("training data", data)
    schedule = _make_schedule(config, num_images=len(source))
    train_step = build.make_step(config, method, schedule.learning_rate, mesh)
    averaged = "_ema" if config.ema_decay > 0 else ""
    with contextlib.ExitStack() as stack:
        stack.enter_context(explaining_memory(build.TRAINING_ADVICE))
        stop = stack.enter_context(stop_on_signals())
        evaluate = _make_evaluator(config, method, mesh, stop)
        workdir.mkdir(parents=True, exist_ok=True)
        checkpoints = build.open_checkpoints(config, workdir, data=data)
        stack.callback(checkpoints.close)
        state = checkpoints.restore_last(
            build.state_shapes(config, method, mesh)
        ) or build.fresh_state(config, method, mesh)
        _report_start(state, num_images=len(source), schedule=schedule, mesh=mesh)
        batches = _make_batches(config, source, start_step=int(state.step))
        stack.callback(batches.close)
        writer = MetricWriter(
            workdir, first_step=int(state.step), writes=jax.process_index() == 0
        )
        stack.callback(writer.close)
        state = train(
            state,
            train_step,
            batches,
            evaluate,
            best_by=f"eval/{method.answer}{averaged}/AP",
            schedule=schedule,
            checkpoints=checkpoints,
            writer=writer,
            mesh=mesh,
            stop_requested=stop,
        )
    if stop.signal is not None:
        _LOG.info(
            "%s: step %d of %d is saved in %s; run the same command again to go on",
            *(stop.signal.name, int(state.step), schedule.num_steps, workdir),
        )
    return stop.signal


def _make_schedule(config: ConfigDict, *, num_images: int) -> Schedule:
    positive = ("epochs", "log_every", "eval_every", "checkpoint_every")
    for name in (*positive, "max_skipped_in_row", "learning_rate"):
        if not config[name] > 0:
            raise ValueError(f"got {name}={config[name]}, expected more than 0")
    steps_per_epoch = max(num_images // config.batch_size, 1)
    return Schedule(
        num_steps=max(round(config.epochs * steps_per_epoch), 1),
        steps_per_epoch=steps_per_epoch,
        batch_size=config.batch_size,
        log_every=config.log_every,
        eval_every=max(round(config.eval_every * steps_per_epoch), 1),
        checkpoint_every=max(round(config.checkpoint_every * steps_per_epoch), 1),
        max_skipped_in_row=config.max_skipped_in_row,
        learning_rate=build.make_schedule(config, steps_per_epoch),
    )


def _make_batches(
    config: ConfigDict, source: Source, *, start_step: int
) -> Generator[Example, None, None]:
    batches = make_train_dataset(
        source,
        input_size=config.data.input_size,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=Augmentation(**config.data.augmentation),
        max_people=config.data.max_people,
        start_step=start_step,
        num_workers=config.data.num_workers,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
        max_bad_records=config.data.max_bad_records,
        stall_s=config.data.stall_s,
    )

    def checked() -> Generator[Example, None, None]:
        with _blaming_data():
            yield from batches

    return checked()


@contextlib.contextmanager
def _blaming_data() -> Iterator[None]:
    """What is wrong in here is wrong with the data, not with the config."""
    try:
        yield
    except ValueError as error:
        raise DataError(*error.args) from error
    except ChildProcessError as error:
        raise WorkerError(*error.args) from error


def _report_start(
    state: TrainState, *, num_images: int, schedule: Schedule, mesh: Mesh
) -> None:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    step = int(state.step)
    _LOG.info(
        "%s parameters, %d images, %d devices; %s of %d",
        f"{parameters:,}",
        num_images,
        mesh.devices.size,
        f"going on after step {step}" if step else "from step 0",
        schedule.num_steps,
    )


def _make_evaluator(
    config: ConfigDict, method: Method, mesh: Mesh, stop: StopRequest
) -> Evaluate:
    """State -> flat scores on the config's evaluation split; None if asked to stop."""
    split = config.data.eval_split
    batches = build.make_batches(config, split)
    with _blaming_data():
        truth = build.load_truth(config, split)
    protocol = Protocol(batches.source.skeleton)
    evaluate = make_evaluator(method, mesh)

    def run(state: TrainState) -> dict[str, float] | None:
        rows: build.Rows = {}
        for suffix, variables in state.evaluated.items():
            until_stop = itertools.takewhile(lambda _: stop.signal is None, batches)
            prepared = build.inference_variables(method, variables, mesh)
            with explaining_memory(build.EVALUATION_ADVICE):
                sets = run_evaluation(evaluate, prepared, until_stop, mesh)
            if stop.signal is not None:
                return None
            scored = build.score(truth, sets, protocol)
            rows |= {f"{name}{suffix}": row for name, row in scored.items()}
        table = format_table(rows, protocol.columns)
        _LOG.info("evaluation on %s; %s\n%s", split, protocol.note, table)
        return {
            f"eval/{name}/{metric}": value
            for name, row in rows.items()
            for metric, value in row.items()
            if value is not None
        }

    return run
