"""Training of a detector with associative embedding: targets, losses, three steps."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from data_pipeline.feed.examples import make_example, stack_examples
from logocap_jax.geometry import STRIDE
from logocap_jax.methods.base import Variables
from logocap_jax.methods.higher_maps import FINE, HigherConfig
from logocap_jax.methods.higher_targets import cells_at, heatmap_target, strided_loss
from logocap_jax.methods.higherhrnet import training
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.weights import FORMAT
from logocap_jax.methods.initial_poses import normalise, train_maps
from logocap_jax.parity.batches import denormalise
from logocap_jax.parity.cases import case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.layout import Arrays, Entry, Layout, channels_last, from_torch
from logocap_jax.parity.steps import Stepper, check_steps
from logocap_jax.structures import Batch
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import to_state_dict

_LEARNING_RATE = 1.5e-3
_TERMS = {"heatmap": "heatmap", "push": "push", "pull": "pull"}
_TARGETS, _LOSSES, _NORMS = 1e-5, 1e-5, 5e-3  # of the largest value
STRIDES = (STRIDE, FINE)

# What makes a batch; joints at any one of the resolutions.
BATCH: Layout = {
    "input": Entry("B 3 H W", channels_last, required=True),
    "hflip": Entry("B", required=True),
    "mask_4": Entry("B h w", required=True),
    "mask_2": Entry("B h2 w2", required=True),
    "target_4": Entry("B C h w", channels_last),
    "target_2": Entry("B C h2 w2", channels_last),
}
_JOINTS = {"joints_full": 1, "joints_2": FINE, "joints_4": STRIDE}
_LAYOUT: Layout = {
    **BATCH,
    "tag_index_4": Entry("B P C 2", required=True),
    "tag_index_2": Entry("B P C 2"),
    "heatmap_loss_4": Entry("B"),
    "heatmap_loss_2": Entry("B"),
    "push": Entry("B"),
    "pull": Entry("B"),
    "losses": Entry("L 3", required=True),
}
_PREFIXES = ("grad/", "gradnorm/", "bn1/")


def check_training(
    path: pathlib.Path,
    config: HigherHRNetConfig,
    variables: Variables,
    *,
    marks: bool = True,
) -> list[StageResult]:
    """Compare targets, tag indices, losses, gradients, statistics of three steps.

    Args:
      path: of the case.
      config: settings of the model.
      variables: of the model.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    with errors_naming(path):
        arrays = from_torch(
            _release_keys(read_arrays(path)), _LAYOUT, {"C": config.num_heatmaps}
        )
        batch = read_batch(arrays, config)
    compare = Comparison(case_name(path), marks=marks)
    check_targets(compare, arrays, batch, config)
    _check_indices(compare, arrays, batch, config)
    _check_images(compare, arrays, batch, config, variables)
    loss = functools.partial(training.loss, config)
    stepper = Stepper(loss, _TERMS, learning_rate=_LEARNING_RATE)
    # Of most gradients the norm alone is there.
    shown = [key[len("grad/") :] for key in arrays if key.startswith("grad/")]
    arrays |= {"parameter_names": np.array(shown)}
    check_steps(compare, arrays, stepper, variables, batch, later=len(_TERMS))
    _check_norms(compare, arrays, stepper, variables, batch)
    return compare.results


def _release_keys(arrays: Arrays) -> Arrays:
    """The case with the keys of parameters that the release has."""
    renamed = dict(arrays)
    for name, array in arrays.items():
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                del renamed[name]
                renamed[prefix + FORMAT.canonical(name.removeprefix(prefix))] = array
    return renamed


def read_batch(arrays: Arrays, config: HigherConfig) -> Batch:
    """The batch of a case, in this project's layout already.

    Raises:
      ValueError: joints are missing.
    """
    found = [name for name in _JOINTS if name in arrays]
    if not found:
        raise ValueError(f"no array of {', '.join(_JOINTS)}")
    stride, joints = _JOINTS[found[0]], arrays[found[0]]
    count = config.skeleton.num_keypoints
    pixels = denormalise(arrays["input"])
    shift = (stride - 1) / stride * arrays["hflip"]
    points = joints[:, :, :count, :2] + shift[:, None, None, None] * [1, 0]
    slots = joints.shape[1]
    examples = [
        make_example(
            pixels[i],
            masks={s: arrays[f"mask_{s}"][i].astype(np.uint8) for s in STRIDES},
            keypoints=stride * points[i],
            labelled=joints[i, :, :count, 2] > 0,
            area=np.ones(slots),
            has_center=np.ones(slots, bool),
            box=np.zeros((slots, 4)),
            max_people=slots,
            mirrored=bool(arrays["hflip"][i]),
        )
        for i in range(len(pixels))
    ]
    return Batch(**jax.tree.map(jnp.asarray, stack_examples(examples)))


def check_targets(
    compare: Comparison, arrays: Arrays, batch: Batch, config: HigherConfig
) -> None:
    """Compare heatmap targets, those that the case holds."""
    for stride in STRIDES:
        if f"target_{stride}" in arrays:
            make = functools.partial(heatmap_target, config=config, stride=stride)
            found = jax.jit(jax.vmap(make))(batch)
            _relative(
                compare, f"target {stride}", found, arrays[f"target_{stride}"], _TARGETS
            )


def _check_indices(
    compare: Comparison, arrays: Arrays, batch: Batch, config: HigherConfig
) -> None:
    """Compare where tags are read: flat places and flags."""
    for stride in STRIDES:
        expected = arrays.get(f"tag_index_{stride}")
        if expected is None:
            continue
        run = functools.partial(cells_at, config=config, stride=stride)
        cells, exists = map(np.asarray, jax.jit(jax.vmap(run))(batch))
        height, width = (side // stride for side in batch.image.shape[1:3])
        x, y = np.moveaxis(cells, -1, 0)
        places = np.arange(cells.shape[2]) * height * width + y * width + x
        # The reference puts a person's joints into the first slots.
        found = np.stack([places, np.ones_like(places)], axis=-1)
        found, wanted = (
            _by_person(rows, flags)
            for rows, flags in ((found, exists), (expected, expected[..., 1] > 0))
        )
        compare.absolute(
            f"tag indices {stride}",
            found,
            wanted,
            tolerance=0.0,
            fed_with="batch",
        )


def _by_person(rows: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Flat places of all joints that exist, and the image and person of each."""
    image, person, _ = np.nonzero(exists)
    order = np.cumsum(np.append(True, np.diff(image * 1000 + person) != 0))[
        : len(image)
    ]
    return np.stack([image, order, rows[exists][:, 0]], axis=-1)


def _check_images(
    compare: Comparison,
    arrays: Arrays,
    batch: Batch,
    config: HigherHRNetConfig,
    variables: Variables,
) -> None:
    """Compare the losses of each image."""

    @jax.jit
    def losses(variables: Variables, batch: Batch) -> dict[str, Array]:
        image = normalise(batch.image)
        maps, _ = train_maps(config.network(), variables, image)
        run = functools.partial(cells_at, config=config, stride=STRIDE)
        push, pull = jax.vmap(training.tag_losses)(maps.tags, *jax.vmap(run)(batch))
        heat = {
            f"heatmap_loss_{stride}": strided_loss(heatmaps, batch, config, stride)
            for stride, heatmaps in ((STRIDE, maps.coarse), (FINE, maps.fine))
        }
        return {
            "push": config.push_weight * push,
            "pull": config.pull_weight * pull,
            **{name: jnp.mean(x, axis=(1, 2, 3)) for name, x in heat.items()},
        }

    for name, found in losses(variables, batch).items():
        if name in arrays:
            _relative(compare, f"{name}, per image", found, arrays[name], _LOSSES)


def _check_norms(
    compare: Comparison,
    arrays: Arrays,
    stepper: Stepper,
    variables: Variables,
    batch: Batch,
) -> None:
    """Compare the norms of all gradients, each with its own."""
    prefix = "gradnorm/"
    norms = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    if not norms:
        return
    outcome = stepper.step(
        variables, stepper.optimizer.init(variables["params"]), batch
    )
    grads: Mapping[str, Any] = to_state_dict(jax.device_get({"params": outcome.grads}))
    found = np.array([np.linalg.norm(grads[key]) for key in norms])
    wanted = np.array([float(norm) for norm in norms.values()])
    _relative(compare, "gradient norms", found, wanted, _NORMS)


def _relative(
    compare: Comparison, stage: str, found: Any, expected: np.ndarray, limit: float
) -> None:
    compare.relative(
        stage, np.asarray(found), expected, tolerance=limit, fed_with="batch"
    )
