"""What training and evaluation both build from a config."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipeline.feed.eval_batches import EvalBatches, make_eval_batches
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.layouts import annotation_file
from data_pipeline.read.sources import open_source
from logocap_jax import skeletons
from logocap_jax.evaluation.coco import keypoint_category, load_ground_truth
from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.results import to_coco
from logocap_jax.evaluation.runner import ResultSets
from logocap_jax.methods import build_method, marked_settings
from logocap_jax.methods.base import Method, Variables
from logocap_jax.sharding import replicated
from logocap_jax.skeletons import Skeleton
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.optim import (
    make_optimizer,
    multi_step_schedule,
    scale_learning_rate,
)
from logocap_jax.training.state import (
    TrainState,
    create_state,
    state_from_variables,
)
from logocap_jax.training.step import TrainStep, make_train_step
from logocap_jax.weights.init_from import start_from

Rows = dict[str, dict[str, float | None]]

# What lowers the memory that a batch needs.
TRAINING_ADVICE = (
    "a smaller batch_size lowers it, and so do method.dtype='bfloat16', accumulate=2 "
    "or more, and method.backbone.remat=True"
)
EVALUATION_ADVICE = (
    "a smaller eval.batch_size or eval.short_side lowers it, and so does "
    "method.dtype='bfloat16'"
)


def skeleton_of(config: ConfigDict) -> Skeleton:
    """The skeleton of the config's data set; COCO's without one, to plan or measure.

    Raises:
      ValueError: if the data set has none.
    """
    if not config.data.dir or not Path(config.data.dir).exists():
        return skeletons.COCO
    return find_skeleton(Path(config.data.dir))


def method_settings(config: ConfigDict) -> dict[str, Any]:
    """What `build_config` takes: the method's settings, for the config's data."""
    settings = config.method.to_dict()
    del settings["name"]
    return settings | {"skeleton": dataclasses.asdict(skeleton_of(config))}


def check_numbers(settings: Mapping[str, Any], path: str = "") -> None:
    """Check that no number of a config is beyond what any setting can mean.

    Raises:
      ValueError: if one is not finite, or an integer of more than 32 bits.
    """
    for name, value in settings.items():
        if isinstance(value, Mapping):
            check_numbers(value, f"{path}{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"got {path}{name}={value}, expected a finite number")
        elif isinstance(value, int) and abs(value) >= 2**31:
            raise ValueError(f"got {path}{name}={value}, expected less than 2^31")


def make_method(config: ConfigDict) -> Method:
    """Build the config's method, for the keypoints of its data."""
    return build_method(config.method.name, method_settings(config))


def data_dir(config: ConfigDict) -> Path:
    """The config's data folder.

    Raises:
      ValueError: if the config names none.
    """
    if not config.data.dir:
        raise ValueError("got no data folder; set --config.data.dir=DIR")
    return Path(config.data.dir)


def make_schedule(config: ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The config's learning rate, by step."""
    return multi_step_schedule(
        scale_learning_rate(
            config.learning_rate,
            config.lr_scaling,
            batch_size=config.batch_size,
            base_batch=config.lr_base_batch,
        ),
        milestones=config.lr_milestones,
        decay=config.lr_decay,
        warmup=config.lr_warmup,
        steps_per_epoch=steps_per_epoch,
    )


def make_step(
    config: ConfigDict, method: Method, learning_rate: optax.Schedule, mesh: Mesh
) -> TrainStep:
    """The config's training step, for states of `fresh_state`.

    Raises:
      ValueError: if a setting is out of range, or the devices do not divide the parts
        of a batch.
    """
    step = make_train_step(
        method.loss,
        _make_optimizer(config, learning_rate),
        mesh,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay,
        parts=method.parts,
        seed=config.seed,
    )
    shares = config.accumulate * mesh.devices.size
    if config.batch_size % shares:
        raise ValueError(
            f"got batch_size={config.batch_size}, expected a multiple of {shares}, "
            f"for accumulate={config.accumulate} parts on {mesh.devices.size} devices"
        )
    return step


def _make_optimizer(
    config: ConfigDict, learning_rate: optax.Schedule
) -> optax.GradientTransformation:
    return make_optimizer(
        learning_rate,
        config.optimizer,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )


def fresh_state(config: ConfigDict, method: Method, mesh: Mesh) -> TrainState:
    """A new state on the mesh, from the config's seed and `init_from`.

    Raises:
      ValueError: if the weights to start from do not fit.
    """
    optimizer = _make_optimizer(config, make_schedule(config, steps_per_epoch=1))
    on_mesh = functools.partial(jax.jit, out_shardings=replicated(mesh))
    variables = on_mesh(method.init)(jax.random.key(config.seed))
    if config.init_from:
        variables = start_from(Path(config.init_from), variables)
    create: Callable[..., TrainState] = on_mesh(
        functools.partial(
            state_from_variables, optimizer=optimizer, ema=config.ema_decay > 0
        )
    )
    return create(variables)


def state_shapes(config: ConfigDict, method: Method, mesh: Mesh) -> TrainState:
    """Shapes and placement of a state, computed without any arithmetic."""
    optimizer = _make_optimizer(config, make_schedule(config, steps_per_epoch=1))
    create = functools.partial(
        create_state, method, optimizer, ema=config.ema_decay > 0
    )
    shapes = jax.eval_shape(lambda: create(jax.random.key(0)))
    return jax.tree.map(lambda leaf: leaf.update(sharding=replicated(mesh)), shapes)


def data_fingerprint(config: ConfigDict) -> str:
    """What tells the config's training data from others: a hash of its annotations.

    Raises:
      ValueError: if the config names no data folder.
      OSError: if it holds no annotations of the training split.
    """
    path = annotation_file(data_dir(config), config.data.train_split)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def open_checkpoints(
    config: ConfigDict, workdir: Path, *, data: str | None
) -> Checkpoints:
    """The checkpoints of a run; `close()` them.

    Args:
      config: the run's config.
      workdir: the run's folder.
      data: `data_fingerprint` of what it trains on; None: to read only.
    """
    method = config.method.to_dict()
    method["backbone"].pop("remat", None)  # changes memory and time only
    skeleton = skeleton_of(config)
    return Checkpoints(
        workdir / "checkpoints",
        settings={
            "method": method,
            "skeleton": skeleton.settings(),
            # What the state consists of.
            "optimizer": config.optimizer,
            "ema": config.ema_decay > 0,
            # What the order of the batches depends on: a resumed run needs the same.
            "seed": config.seed,
            "batch_size": config.batch_size,
            **({} if data is None else {"data": data}),
        },
        about={"skeleton": dataclasses.asdict(skeleton)},
        free=[
            f"method.{name}"
            for name in marked_settings(config.method.name, "test_time")
        ],
        read_only=data is None,
    )


def inference_variables(method: Method, variables: Variables, mesh: Mesh) -> Variables:
    """Variables for many batches at test time, prepared and on the mesh."""
    return jax.jit(method.prepare, out_shardings=replicated(mesh))(variables)


def make_batches(config: ConfigDict, split: str) -> EvalBatches:
    """The batches of a split, at the config's test size."""
    source = open_source(data_dir(config), split)
    return make_eval_batches(
        source,
        short_side=config.eval.short_side,
        batch_size=config.eval.batch_size,
        max_people=config.data.max_people,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
    )


def load_truth(config: ConfigDict, split: str) -> dict[str, Any]:
    """The annotations of a split, checked for what scoring needs.

    People of CrowdPose get areas.

    Raises:
      ValueError: if they cannot be scored.
    """
    path = annotation_file(data_dir(config), split)
    return load_ground_truth(path, skeleton=skeleton_of(config))


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
