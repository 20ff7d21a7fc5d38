"""Training: the step, and the loop that feeds it from a data set."""

import argparse
import contextlib
import copy
import dataclasses
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipeline.feed.examples import (
    Example,
    empty_example,
    make_example,
    stack_examples,
)
from data_pipeline.feed.loss_masks import full_masks
from logocap_jax.experiment.run import Run, resolve
from logocap_jax.measure.benchmark import (
    BenchmarkOptions,
    Session,
    Setting,
    TimedCall,
    all_settings,
    run_first,
    static_row,
)
from logocap_jax.measure.input import open_training_source
from logocap_jax.measure.programs import Program
from logocap_jax.measure.rows import Row
from logocap_jax.sharding import batch_sharding, check_batch_size, make_mesh, put_batch
from logocap_jax.structures import Batch
from logocap_jax.training.state import TrainState

STEP, LOOP = "train-step", "train-loop"
ADVICE = (
    "a smaller --batch or --size lowers it, and so do --dtype bfloat16, "
    "--config.accumulate=2 and --config.method.backbone.remat=True"
)


def run(args: argparse.Namespace) -> int:
    """Measure training; the exit code.

    Raises:
      ValueError: if the options make no sense together.
    """
    session = Session(args)
    config = session.config
    batch, side = config.batch_size, config.data.input_size
    settings = list(all_settings(args, config, batch=batch, side=side))

    def measure(setting: Setting) -> list[Row]:
        return measure_training(config, setting, args.people, session.options)

    return session.run(settings, measure, ADVICE)


def measure_training(
    config: ConfigDict, setting: Setting, people: int, options: BenchmarkOptions
) -> list[Row]:
    """Measure one setting, which replaces the config's, on all devices.

    The loop is measured where the config has a data folder; it reads with the config's
    workers. `people` are in each image of the step's batch.

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
    example = draw_example(run, people)
    reads = run.settings.data.dir and not options.compile_only
    source = open_training_source(run) if reads else None
    state = run.state_shapes()
    program = options.compile(STEP, run.make_step(), state, batch_shapes(run))
    row = static_row(STEP, setting, program, remark=_donation(program, state))
    if options.compile_only:
        return [row]
    batch = put_batch(stack_examples([example] * setting.batch), mesh)
    stepper = _Stepper(program, run.fresh_state())
    call, _ = run_first(row, program._replace(run=stepper.advance), Batch(**batch))
    calls = [call]
    with contextlib.ExitStack() as stack:
        if source is not None:
            batches = run.train_batches(source)
            stack.enter_context(contextlib.closing(batches))
            calls.append(_loop(stepper, batches, run, setting))
        return options.measure(calls)


def draw_example(run: Run, people: int) -> Example:
    """An image of noise, with the keypoints of so many people somewhere on it.

    Raises:
      ValueError: if there are more people than the run's slots.
    """
    data, num_keypoints = run.settings.data, run.skeleton.num_keypoints
    if not 0 < people <= data.max_people:
        raise ValueError(f"got {people} people, expected 1 to {data.max_people}")
    rng = np.random.default_rng(0)
    side = data.input_size
    keypoints = rng.uniform(0, side - 1, (people, num_keypoints, 2))
    return make_example(
        rng.integers(0, 255, (side, side, 3), np.uint8),
        masks=full_masks((side, side), run.inputs.mask_strides),
        keypoints=keypoints,
        labelled=np.ones((people, num_keypoints), bool),
        area=np.full(people, side * side / 4),
        has_center=np.ones(people, bool),
        box=np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1),
        max_people=data.max_people,
    )


def batch_shapes(run: Run) -> Batch:
    """Shapes, dtypes and placement of a run's training batches.

    Raises:
      ValueError: if its stage of training does not learn from images.
    """
    settings = run.settings
    if run.method.train_stage(settings.stage).learns_from is not None:
        raise ValueError(
            f"got stage {settings.stage!r}, which learns from poses, expected one that "
            "learns from images"
        )
    side, sharding = settings.data.input_size, batch_sharding(run.mesh)
    example = empty_example(
        (side, side),
        num_keypoints=run.skeleton.num_keypoints,
        max_people=settings.data.max_people,
        mask_strides=run.inputs.mask_strides,
    )

    def stacked(array: np.ndarray) -> Any:
        shape = (settings.batch_size, *array.shape)
        return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)

    return Batch(**jax.tree.map(stacked, example))


@dataclasses.dataclass
class _Stepper:
    """Takes steps from state to state: each state is donated to the next."""

    program: Program  #: the step
    state: TrainState  #: the last one

    def advance(self, batch: Batch) -> Any:
        """Take a step, without any transfer from or to the host."""
        with jax.transfer_guard("disallow"):
            self.state, metrics = self.program.run(self.state, batch)
        return metrics


def _donation(program: Program, state: TrainState) -> str:
    """The share of the state that is updated in place, in words."""
    if program.memory is None:
        return ""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if program.memory.aliased >= size:
        return "the state is updated in place"
    return f"copies {1 - program.memory.aliased / size:.0%} of the state"


def _loop(stepper: _Stepper, batches: Any, run: Run, setting: Setting) -> TimedCall:
    """As `training.loop`: read, bring to the devices, step."""
    remark = "with reading, augmentation and transfer"

    def advance() -> Any:
        return stepper.advance(Batch(**put_batch(next(batches), run.mesh)))

    return TimedCall(Row(LOOP, str(setting), setting.batch, remark=remark), advance)
