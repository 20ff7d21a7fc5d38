"""Training: the step, and the loop that feeds it from a data set."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import open_source
from logocap_jax.experiment.run import Run, resolve
from logocap_jax.measure.options import Setting
from logocap_jax.measure.programs import Program
from logocap_jax.measure.rows import Row
from logocap_jax.measure.runs import (
    Effort,
    Item,
    read_row,
    run_first,
)
from logocap_jax.measure.scenes import draw_truth
from logocap_jax.sharding import check_batch_size, make_mesh, put_batch
from logocap_jax.structures import Batch
from logocap_jax.training.state import TrainState

STEP, LOOP = "train-step", "train-loop"
ADVICE = (
    "a smaller --batch or --size lowers it, and so do --dtype bfloat16, "
    "--set accumulate=2 and --set method.backbone.remat=True"
)


def benchmark_training(
    config: ConfigDict, setting: Setting, *, people: int, effort: Effort
) -> list[Row]:
    """Measure one setting, on all devices.

    The loop is measured where the config has a data folder; it reads with the config's
    workers.

    Args:
      config: what to train.
      setting: what to measure at; it counts, not the config's.
      people: in each image of the step's batch.
      effort: how often.

    Raises:
      DoesNotFitError: if a device has not enough memory.
      ValueError: if config and setting do not fit together.
    """
    if setting.size[0] != setting.size[1]:
        raise ValueError(f"--size: got {setting}, expected squares for training")
    config = copy.deepcopy(config)
    config.method.dtype = setting.dtype
    config.batch_size = setting.batch
    config.data.input_size = setting.size[0]
    mesh = make_mesh()
    check_batch_size(setting.batch, mesh, name="--batch")
    run = resolve(config, mesh=mesh)
    image = draw_truth(
        people,
        size=setting.size,
        max_people=config.data.max_people,
        kinds=run.skeleton.num_keypoints,
    )
    state = run.state_shapes()
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((setting.batch, *x.shape), x.dtype), image
    )
    program = effort.compile(STEP, run.make_step(), state, shapes)
    remark = _donation(program, state)
    if effort.compile_only:
        row = read_row(STEP, setting, program)
        return [dataclasses.replace(row, remark=remark)]
    arrays = jax.tree.map(lambda x: np.stack([x] * setting.batch), image)
    batch = Batch(**put_batch(vars(arrays), mesh))
    stepper = _Stepper(program, run.fresh_state())
    item, _ = run_first(STEP, setting, program._replace(run=stepper.advance), batch)
    items = [item._replace(row=dataclasses.replace(item.row, remark=remark))]
    with contextlib.ExitStack() as stack:
        if config.data.dir:
            batches = stack.enter_context(contextlib.closing(_batches(run)))
            items.append(_loop(stepper, batches, mesh, setting))
        return effort.measure(items, setting.dtype)


@dataclasses.dataclass
class _Stepper:
    """Takes steps from state to state: each is donated to the next.

    Attributes:
      program: the step.
      state: the last one.
    """

    program: Program
    state: TrainState

    def advance(self, batch: Batch) -> Any:
        """Take a step, which must bring nothing to or from the host on its own."""
        with jax.transfer_guard("disallow"):
            self.state, metrics = self.program.run(self.state, batch)
        return metrics


def _donation(program: Program, state: TrainState) -> str:
    """How much of the state the new one takes the place of."""
    if program.memory is None:
        return ""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if program.memory.aliased >= size:
        return "the state is updated in place"
    return f"copies {1 - program.memory.aliased / size:.0%} of the state"


def _batches(run: Run) -> Any:
    data = run.settings.data
    source = open_source(Path(data.dir), data.train_split, with_people_only=True)
    return make_train_dataset(
        source,
        input_size=data.input_size,
        batch_size=run.settings.batch_size,
        seed=run.settings.seed,
        augmentation=data.augmentation,
        max_people=data.max_people,
        num_workers=data.num_workers,
    )


def _loop(
    stepper: _Stepper, batches: Iterator[Any], mesh: Mesh, setting: Setting
) -> Item:
    """As `training.loop`: read, bring to the devices, step."""
    row = Row(
        *(LOOP, str(setting), setting.batch),
        remark="with reading, augmentation and transfer",
    )

    def advance() -> Any:
        return stepper.advance(Batch(**put_batch(next(batches), mesh)))

    return Item(row, advance)
