"""A config, resolved: what training, evaluation and measuring are given."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.eval_batches import EvalBatches, make_eval_batches
from data_pipeline.feed.examples import Example
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.people import PeopleSource
from data_pipeline.read.sources import Source, open_source
from logocap_jax import skeletons
from logocap_jax.evaluation.coco import load_ground_truth
from logocap_jax.experiment.crops import crop_batches, crop_maker
from logocap_jax.experiment.settings import Settings, read_settings
from logocap_jax.methods import build_config, find_method, marked_settings
from logocap_jax.methods.base import InputSpec, Method, Variables
from logocap_jax.processes import check_same
from logocap_jax.sharding import check_batch_size, make_mesh, replicated
from logocap_jax.skeletons import Skeleton
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.optim import (
    make_optimizer,
    multi_step_schedule,
    parts_in_training,
    scale_learning_rate,
)
from logocap_jax.training.state import TrainState, create_state, state_from_variables
from logocap_jax.training.step import TrainStep, make_train_step
from logocap_jax.weights.files import start_from
from logocap_jax.weights.trees import flatten, unflatten

# Lower the memory that a batch needs.
TRAINING_ADVICE = (
    "a smaller batch_size lowers it, and so do method.dtype='bfloat16', accumulate=2 "
    "or more, and method.backbone.remat=True"
)
EVALUATION_ADVICE = (
    "a smaller eval.batch_size or eval.short_side lowers it, and so does "
    "method.dtype='bfloat16'"
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A resolved config."""

    values: Mapping[str, Any]  #: the config's plain values
    settings: Settings  #: those of all but the method
    skeleton: Skeleton  #: that of the data set; COCO's without one, to plan or measure
    #: As `build_config` takes them, with the skeleton.
    method_settings: Mapping[str, Any]
    method: Method  #: built from them
    inputs: InputSpec  #: the input that it needs
    mesh: Mesh  #: all devices, or those to plan for
    split: str | None  #: the one that is evaluated, where that was asked for
    #: The images that are trained on, where that was asked for.
    train_source: Source | None
    eval_source: Source | None  #: those of `split`
    steps_per_epoch: int  #: 1 where nothing is trained on
    learning_rate: optax.Schedule  #: by update
    optimizer: optax.GradientTransformation  #: with that rate

    def make_step(self) -> TrainStep:
        """Make the training step, for states of `fresh_state`.

        Raises:
          ValueError: if a setting is out of range, or the devices do not divide the
            parts of a batch.
        """
        batch_size, parts = self.settings.batch_size, self.settings.accumulate
        step = make_train_step(
            self.method.train_stage(self.settings.stage).loss,
            self.optimizer,
            self.mesh,
            accumulate=parts,
            ema_decay=self.settings.ema_decay,
            parts=parts_in_training(self.method, self.settings.stage),
            seed=self.settings.seed,
        )
        devices = self.mesh.devices.size
        if batch_size % (parts * devices):
            raise ValueError(
                f"got batch_size={batch_size}, expected a multiple of "
                f"{parts * devices}, for accumulate={parts} parts on {devices} devices"
            )
        return step

    def with_epochs_of(self, examples: int) -> "Run":
        """The run with so many examples in an epoch."""
        return dataclasses.replace(
            self, **_epochs_of(examples, self.settings, self.method)
        )

    def in_stage(self, stage: str) -> "Run":
        """The run in another stage of training; itself, if its method has none such."""
        if stage == self.settings.stage or stage not in {"main", *self.method.stages}:
            return self
        settings = dataclasses.replace(self.settings, stage=stage)
        examples = self.steps_per_epoch * settings.batch_size
        return dataclasses.replace(self, settings=settings).with_epochs_of(examples)

    def fresh_state(self) -> TrainState:
        """Make a new state on the mesh, from the run's seed and `init_from`.

        Raises:
          ValueError: if the weights to start from do not fit, or a stage that learns
            from a model's poses lacks some of its weights.
        """
        stage = self.method.train_stage(self.settings.stage)
        may_lack = None
        if stage.learns_from is not None:
            if not self.settings.init_from:
                raise ValueError(
                    f"got stage {self.settings.stage!r}, which learns from the poses "
                    "of a trained model, without one: set --config.init_from=RUN"
                )
            parts = [part for part in self.method.parts if part.name in stage.trains]
            may_lack = tuple(path for part in parts for path in part.paths)
        on_mesh = functools.partial(jax.jit, out_shardings=replicated(self.mesh))
        variables = on_mesh(self.method.init)(jax.random.key(self.settings.seed))
        if self.settings.init_from:
            variables = start_from(
                Path(self.settings.init_from),
                variables,
                method=self.values["method"]["name"],
                may_lack=may_lack,
            )
        create: Callable[..., TrainState] = on_mesh(
            functools.partial(
                state_from_variables, optimizer=self.optimizer, ema=self.keeps_average
            )
        )
        return create(variables)

    def state_shapes(self) -> TrainState:
        """Shapes and placement of a state, computed without any arithmetic."""
        create = functools.partial(
            create_state, self.method, self.optimizer, ema=self.keeps_average
        )
        shapes = jax.eval_shape(lambda: create(jax.random.key(0)))
        whole = replicated(self.mesh)
        return jax.tree.map(lambda leaf: leaf.update(sharding=whole), shapes)

    @property
    def keeps_average(self) -> bool:
        """True if states hold a moving average of the weights."""
        return self.settings.ema_decay > 0

    def open_checkpoints(self, workdir: Path, *, data: str | None) -> Checkpoints:
        """Open the checkpoints of a run; `close()` them.

        `data` is the fingerprint of what it trains on; None: to read only.
        """
        name, stage = self.values["method"]["name"], self.settings.stage
        method = flatten(self.values["method"])
        for key in marked_settings(name, "free"):
            method.pop(key.replace(".", "/"), None)
        return Checkpoints(
            workdir / "checkpoints",
            settings={
                "method": unflatten(method),
                "skeleton": self.skeleton.settings(),
                # The parts of the state.
                "optimizer": self.settings.optimizer,
                "ema": self.keeps_average,
                # The order of the batches depends on these: a resumed run needs the
                # same.
                "seed": self.settings.seed,
                "batch_size": self.settings.batch_size,
                # A run of `main` does not say so, but evaluation asks for it.
                **({} if stage == "main" and data else {"stage": stage}),
                **({} if data is None else {"data": data}),
            },
            about={
                "skeleton": dataclasses.asdict(self.skeleton),
                "short_side": self.settings.eval.short_side,
            },
            free=[f"method.{key}" for key in marked_settings(name, "test_time")],
            read_only=data is None,
        )

    def inference_variables(self, variables: Variables) -> Variables:
        """Prepare variables for many batches at test time, on the mesh."""
        prepare = jax.jit(self.method.prepare, out_shardings=replicated(self.mesh))
        return prepare(variables)

    def truth(self) -> dict[str, Any]:
        """The annotations of the evaluated split, checked for what scoring needs."""
        assert self.eval_source is not None
        try:
            return load_ground_truth(self.eval_source.truth, skeleton=self.skeleton)
        except ValueError as error:
            reason = str(error).removeprefix("ground truth: ")
            raise ValueError(f"{self.eval_source.annotation_file}: {reason}") from error

    def fingerprint(self) -> str:
        """A hash of the annotations that are trained on, and the number of images."""
        source = self.train_source
        assert source is not None
        return f"{source.fingerprint}-{len(source)}"

    def train_batches(
        self, source: Source, *, num_workers: int | None = None, start_step: int = 0
    ) -> Generator[Example, None, None]:
        """The training batches of this host, without end; `close()` them.

        By default as many workers as the settings say; see `make_train_dataset`.
        """
        data = self.settings.data
        return make_train_dataset(
            source,
            input_size=data.input_size,
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            augmentation=data.augmentation,
            max_people=data.max_people,
            mask_strides=self.inputs.mask_strides,
            person_size=self.inputs.person_size,
            min_center_area=data.min_center_area,
            start_step=start_step,
            num_workers=data.num_workers if num_workers is None else num_workers,
            host_index=jax.process_index(),
            num_hosts=jax.process_count(),
            max_bad_records=data.max_bad_records,
            stall_s=data.stall_s,
            make=crop_maker(self.inputs, data, source.skeleton),
        )

    def eval_batches(self) -> EvalBatches:
        """The batches of the evaluated split, at the test size.

        Raises:
          ValueError: if other processes have other data.
        """
        source = self.eval_source
        assert source is not None
        if jax.process_count() > 1:  # one alone need not read the file for its hash
            check_same("data to evaluate", f"{source.fingerprint}-{len(source)}")
        if self.inputs.crop is not None:
            return crop_batches(source, self.inputs.crop, self.settings.eval)
        return make_eval_batches(
            source,
            short_side=self.settings.eval.short_side,
            batch_size=self.settings.eval.batch_size,
            max_people=self.settings.data.max_people,
            multiple=self.inputs.multiple,
            rounding=self.inputs.rounding,
            mask_strides=self.inputs.mask_strides,
            person_size=self.inputs.person_size,
            min_center_area=self.settings.data.min_center_area,
            scales=self.inputs.scales,
            host_index=jax.process_index(),
            num_hosts=jax.process_count(),
        )


def resolve(
    config: ConfigDict,
    *,
    train: bool = False,
    split: str | None = None,
    mesh: Mesh | None = None,
) -> Run:
    """Build all that a config stands for, and read the annotations that are needed.

    Args:
      config: see `experiment/settings.py` and `configs/`.
      train: read the split to train on, and the one that training evaluates.
      split: read this one, to evaluate.
      mesh: devices; all, if not given.

    Raises:
      ValueError: if a setting is unknown or out of range, devices do not divide a
        batch, the data set cannot be used, or processes were started with other
        configs or data.
    """
    values = config.to_dict()
    settings = read_settings(values)
    check_same("config", values)
    mesh = make_mesh() if mesh is None else mesh
    train_source = eval_source = None
    if train:
        check_batch_size(settings.batch_size, mesh, name="batch_size")
        split = settings.data.eval_split
        train_source = _open(settings, settings.data.train_split, people_only=True)
    if split is not None:
        check_batch_size(settings.eval.batch_size, mesh, name="eval.batch_size")
        known = train_source.skeleton if train_source else None
        eval_source = _open(settings, split, skeleton=known)
    source = eval_source if train_source is None else train_source
    skeleton = source.skeleton if source else _find_skeleton(settings.data.dir)
    method = {**values["method"], "skeleton": dataclasses.asdict(skeleton)}
    name = method.pop("name")
    spec, method_config = find_method(name), build_config(name, method)
    built, inputs = spec.make(method_config), spec.inputs(method_config)
    if train_source is not None and inputs.crop is not None:
        train_source = PeopleSource(train_source)
    return Run(
        values=values,
        settings=settings,
        skeleton=skeleton,
        method_settings=method,
        method=built,
        inputs=inputs,
        mesh=mesh,
        split=split,
        train_source=train_source,
        eval_source=eval_source,
        **_epochs_of(len(train_source or ()), settings, built),
    )


def _epochs_of(examples: int, settings: Settings, method: Method) -> dict[str, Any]:
    """The fields of a `Run` that depend on the number of examples in an epoch."""
    steps = max(examples // settings.batch_size, 1)
    rate = learning_rate(settings, steps)
    optimizer = make_optimizer(
        rate,
        settings.optimizer,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        parts=parts_in_training(method, settings.stage),
        steps_per_epoch=steps,
    )
    return {"steps_per_epoch": steps, "learning_rate": rate, "optimizer": optimizer}


def _open(
    settings: Settings,
    split: str,
    *,
    people_only: bool = False,
    skeleton: Skeleton | None = None,
) -> Source:
    if not settings.data.dir:
        raise ValueError("got no data folder; set --config.data.dir=DIR")
    return open_source(
        Path(settings.data.dir),
        split,
        with_people_only=people_only,
        skeleton=skeleton,
    )


def _find_skeleton(folder: str) -> Skeleton:
    if not folder or not Path(folder).exists():
        return skeletons.COCO
    return find_skeleton(Path(folder))


def learning_rate(settings: Settings, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate by update.

    Raises:
      ValueError: if `lr_scaling` or `lr_base_batch` is out of range.
    """
    return multi_step_schedule(
        scale_learning_rate(
            settings.learning_rate,
            settings.lr_scaling,
            batch_size=settings.batch_size,
            base_batch=settings.lr_base_batch,
        ),
        milestones=settings.lr_milestones,
        decay=settings.lr_decay,
        warmup=settings.lr_warmup,
        warmup_start=settings.lr_warmup_start,
        steps_per_epoch=steps_per_epoch,
    )
