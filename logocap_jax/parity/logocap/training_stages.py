"""The stages of a training step, on one device and a batch of reference arrays."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from data_pipeline.feed.examples import make_example, stack_examples
from logocap_jax import geometry
from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.logocap import training
from logocap_jax.methods.logocap.assignment import Assignment
from logocap_jax.methods.logocap.config import LogoCapConfig, Model
from logocap_jax.methods.logocap.stages import make_stages
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.walk import StageWalker
from logocap_jax.structures import Batch
from logocap_jax.training.optim import make_optimizer

LEARNING_RATE = 1e-3
# Slots for people per image: one compiled step serves batches of up to as many.
_PEOPLE = 30


class Step(NamedTuple):
    """One step's outcome.

    Attributes:
      losses: the four weighted terms.
      grads: of every parameter.
      variables: after the step.
      opt_state: after the step.
    """

    losses: Float[Array, "4"]
    grads: Any
    variables: Variables
    opt_state: Any


class TrainingStages:
    """The stages of one model; each is compiled once per shape.

    Attributes:
      config: settings.
      optimizer: Adam at the reference's first learning rate.
      step: variables, optimizer state, batch -> `Step`.
      targets: batch -> heatmap target and weight, offset target and weight.
      maps: variables, normalised images -> `DenseMaps` by batch statistics.
      truth: meshes, batch -> `Assignment` of all slots, pose OKS `[B, N, E, E]`.
      kam: variables, embedding, meshes, slots that take part -> attraction maps.
      refined: heatmaps, initial keypoints, attraction maps, true keypoints -> refined
        windows and their targets.
    """

    def __init__(self, model: Model) -> None:
        """Compile nothing yet."""
        config = self.config = model.config
        slots = 2 * config.num_slots
        twice = dataclasses.replace(config, num_slots=slots, slots_per_step=slots)
        self._walk = StageWalker(make_stages(model._replace(config=twice)), {})
        self.optimizer = make_optimizer(optax.constant_schedule(LEARNING_RATE))
        loss = functools.partial(training.loss, model)
        self.step = jax.jit(functools.partial(_step, loss, self.optimizer))
        self.targets = jax.jit(functools.partial(_targets, config))
        self.maps = jax.jit(
            lambda tree, images: initial_poses.train_maps(
                model.dense, subtree(tree, "dense"), images
            )[0]
        )
        self.truth = jax.jit(jax.vmap(functools.partial(_truth, config)))
        self.kam = jax.jit(lambda *arrays: training.attraction_maps(model, *arrays)[0])
        self.refined = jax.jit(
            jax.vmap(functools.partial(training.refined_windows, config))
        )

    def centers(
        self, heatmaps: Float[Array | np.ndarray, "B h w K1"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, values, more than there are slots, and the map in input px."""
        given = {"heatmaps": heatmaps, "valid_size": None}
        names = ("centers", "center_values", "center_map")
        found = jax.device_get(self._walk(given, *names))
        return found["centers"], found["center_values"], found["center_map"]

    def mesh(
        self,
        offsets: Float[Array | np.ndarray, "B h w K 2"],
        centers: Float[np.ndarray, "B N 2"],
    ) -> Float[Array, "B N E E K 2"]:
        """The meshes of slots with these centers."""
        valid = np.ones(centers.shape[:2], bool)
        given = {"offsets": offsets, "centers": centers, "valid": valid}
        mesh: Array = self._walk(given, "mesh")["mesh"]
        return mesh


def make_batch(arrays: Arrays) -> Batch:
    """The batch that a training case was computed from.

    Labels come from `joints_with_center_i` (cells, `[P, K + 1, (x, y, labelled)]`), in
    which the reference mirrors keypoints about another axis than pixels; `Batch` holds
    them as they lie in the input. The mask is where the heatmap weight, at least 0.1
    elsewhere, is 0: a case holds it in no other way.
    """
    pixels = denormalise(arrays["input"])
    masks = (arrays["heatmap_weight"][..., 0] > 0).astype(np.uint8)
    people = [_people(arrays, image) for image in range(len(pixels))]
    examples = [
        make_example(
            pixels[image],
            masks={geometry.STRIDE: masks[image]},
            mirrored=bool(arrays[f"hflip_{image}"]),
            max_people=max(_PEOPLE, *(len(other["area"]) for other in people)),
            **people[image],
        )
        for image in range(len(pixels))
    ]
    return Batch(**jax.tree.map(jnp.asarray, stack_examples(examples)))


def denormalise(image: Float[np.ndarray, "B H W 3"]) -> UInt8[np.ndarray, "B H W 3"]:
    """The pixels that normalise to `image`."""
    mean = np.asarray(initial_poses.IMAGE_MEAN, np.float32)
    std = np.asarray(initial_poses.IMAGE_STD, np.float32)
    return np.rint((image * std + mean) * 255).astype(np.uint8)


def _people(arrays: Arrays, image: int) -> dict[str, np.ndarray]:
    joints = arrays[f"joints_with_center_{image}"]
    shift = (geometry.STRIDE - 1) / geometry.STRIDE * arrays[f"hflip_{image}"]
    points = ((joints[..., :2] + [shift, 0]) * geometry.STRIDE).astype(np.float32)
    return {
        "keypoints": points[:, :-1],
        "labelled": joints[:, :-1, 2] > 0,
        "area": arrays[f"joint_areas_{image}"][:, 0],
        "has_center": joints[:, -1, 2] > 0,
        # Of no size: where a person has no keypoint, the centre is its middle.
        "box": np.concatenate([points[:, -1], points[:, -1]], axis=-1),
    }


def _step(loss, optimizer, variables: Variables, opt_state, batch: Batch) -> Step:
    def loss_fn(params):
        output = loss({**variables, "params": params}, batch, jax.random.key(0))
        return output.loss, output

    params = variables["params"]
    grads, output = jax.grad(loss_fn, has_aux=True)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    terms = [output.terms[name] for name in ("heatmap", "offset", "kam", "refined")]
    updated = {
        "params": optax.apply_updates(params, updates),
        "batch_stats": output.batch_stats,
    }
    return Step(jnp.stack(terms), grads, updated, opt_state)


def _targets(config: LogoCapConfig, batch: Batch) -> dict[str, Array]:
    heat, heat_weight, off, off_weight = jax.vmap(
        lambda example: dense_loss.dense_targets(example, config)
    )(batch)
    return {
        "heatmap_target": heat,
        "heatmap_weight": heat_weight,
        "offset_target": off,
        "offset_weight": jnp.repeat(off_weight[..., None], 2, axis=-1),
    }


def _truth(
    config: LogoCapConfig, mesh: Array, example: Batch
) -> tuple[Assignment, Array]:
    """Ground truth of one image's slots, and the OKS of whole poses on the mesh."""
    truth = training.slot_truth(config, mesh, example)
    count = jnp.maximum(jnp.sum(truth.visible, axis=-1), 1)
    return truth, jnp.sum(truth.kam, axis=-1) / count[:, None, None]
