"""Train as a config says."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.augment import Augmentation
from data_pipeline.pipeline import make_train_dataset
from data_pipeline.sources import Source, open_source
from logocap_jax import skeletons
from logocap_jax.evaluation.runner import jit_evaluate, run_evaluation
from logocap_jax.evaluation.table import format_table
from logocap_jax.experiment import build
from logocap_jax.methods.base import Method, Variables
from logocap_jax.sharding import check_batch_size, make_mesh
from logocap_jax.training.loop import Schedule, train
from logocap_jax.training.metric_writer import MetricWriter
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import TrainState
from logocap_jax.training.step import make_train_step

_LOG = logging.getLogger(__name__)


def train_from_config(config: ConfigDict, workdir: Path) -> None:
    """Train as the config says, from the last checkpoint in `workdir` if any.

    Args:
      config: see `configs/common.py`.
      workdir: folder of the run; made if it is not there.

    Raises:
      ValueError: if the config, the data or a checkpoint do not fit together; one
        line says what was got and what is possible.
    """
    mesh = make_mesh()
    check_batch_size(config.batch_size, mesh, name="batch_size")
    check_batch_size(config.eval.batch_size, mesh, name="eval.batch_size")
    method = build.make_method(config)
    source = open_source(
        build.data_dir(config),
        config.data.train_split,
        skeletons.COCO,
        with_people_only=True,
    )
    schedule = _make_schedule(config, num_images=len(source))
    evaluate = _make_evaluator(config, method, mesh)
    workdir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        checkpoints = build.open_checkpoints(config, workdir)
        stack.callback(checkpoints.close)
        state = checkpoints.restore_last(
            build.state_shapes(config, method, mesh)
        ) or build.fresh_state(config, method, mesh)
        _report_start(state, num_images=len(source), schedule=schedule, mesh=mesh)
        batches = _make_batches(config, source, start_step=int(state.step))
        stack.callback(batches.close)
        writer = MetricWriter(workdir, first_step=int(state.step))
        stack.callback(writer.close)
        train(
            state,
            make_train_step(method, make_optimizer(schedule.learning_rate), mesh),
            batches,
            evaluate,
            best_by=f"eval/{method.result}/AP",
            schedule=schedule,
            checkpoints=checkpoints,
            writer=writer,
            mesh=mesh,
        )


def _make_schedule(config: ConfigDict, *, num_images: int) -> Schedule:
    for name in ("epochs", "log_every", "eval_every", "checkpoint_every"):
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
        learning_rate=build.make_schedule(config, steps_per_epoch),
    )


def _make_batches(config: ConfigDict, source: Source, *, start_step: int):
    return make_train_dataset(
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
    )


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
    config: ConfigDict, method: Method, mesh: Mesh
) -> Callable[[Variables], Mapping[str, float]]:
    """Variables -> flat scores on the config's evaluation split."""
    split = config.data.eval_split
    batches = build.make_batches(config, split)
    truth = build.load_truth(config, split)
    evaluate = jit_evaluate(method, mesh)

    def run(variables: Variables) -> dict[str, float]:
        sets = run_evaluation(evaluate, variables, batches, mesh)
        rows = build.score(truth, sets)
        _LOG.info("evaluation on %s\n%s", split, format_table(rows))
        return {
            f"eval/{name}/{metric}": value
            for name, row in rows.items()
            for metric, value in row.items()
            if value is not None
        }

    return run
