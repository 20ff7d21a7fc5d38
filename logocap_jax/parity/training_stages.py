"""The stages of a training step, on one device and a batch of reference arrays."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from logocap_jax import geometry
from logocap_jax.codecs import heatmap, offset
from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.logocap import expansion, refine, training
from logocap_jax.methods.logocap.assignment import Assignment, assign
from logocap_jax.methods.logocap.config import LogoCapConfig, build_model
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import Batch, DenseMaps
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
      centers: centre maps `[B, h, w]` -> positions, values; more than there are slots.
      mesh: offsets, centers -> meshes `[B, N, E, E, K, 2]`.
      truth: meshes, batch -> `Assignment` of all slots, pose OKS `[B, N, E, E]`.
      slots: variables, maps, meshes, slots that take part -> attraction maps.
      refined: heatmaps, meshes, attraction maps, true keypoints -> refined windows and
        their targets.
    """

    def __init__(self, config: LogoCapConfig) -> None:
        """Compile nothing yet."""
        model = build_model(config)
        self.config = config
        self.optimizer = make_optimizer(optax.constant_schedule(LEARNING_RATE))

        def kam(tree: Variables, maps: DenseMaps, mesh: Array, takes_part: Array):
            features = jax.vmap(expansion.sample_features)(maps.embedding, mesh)
            found, _ = model.maps.apply(
                subtree(tree, "maps"),
                features.reshape(-1, *features.shape[2:]),
                train=True,
                mask=takes_part.reshape(-1),
                mutable=["batch_stats"],
            )
            return found.reshape(*features.shape[:-1], -1)

        def windows(heatmaps: Array, mesh: Array, kam: Array, goal: Array):
            points, radius = jnp.asarray(middle(mesh)), config.window_radius
            given = refine.global_windows(
                heatmaps, points, radius=radius, sigma=config.window_sigma
            )
            target = refine.refined_targets(
                points, goal, radius=radius, sigma=config.refined_sigma
            )
            return refine.adapt(given, kam), target

        self.step = jax.jit(
            functools.partial(
                _step, functools.partial(training.loss, model), self.optimizer
            )
        )
        self.targets = jax.jit(functools.partial(_targets, config))
        self.maps = jax.jit(
            lambda tree, images: initial_poses.train_maps(
                model.dense, subtree(tree, "dense"), images
            )[0]
        )
        self.centers = jax.jit(
            jax.vmap(
                lambda center_map: heatmap.decode_centers(
                    geometry.upsample_to_input(center_map[..., None])[..., 0],
                    count=2 * config.num_slots,
                )[:2]
            )
        )
        self.mesh = jax.jit(
            jax.vmap(
                lambda offsets, centers: expansion.expand(
                    offset.decode(offsets, centers), model.mesh_offsets
                )
            )
        )
        self.truth = jax.jit(jax.vmap(functools.partial(_truth, config)))
        self.slots = jax.jit(kam)
        self.refined = jax.jit(jax.vmap(windows))


def make_batch(arrays: Arrays) -> Batch:
    """The batch that a training case was computed from.

    Labels come from `joints_with_center_i` (cells, `[P, K + 1, (x, y, labelled)]`), in
    which the reference mirrors keypoints about another axis than pixels; `Batch` holds
    them as they lie in the input. The mask is where the heatmap weight, at least 0.1
    elsewhere, is 0: a case holds it in no other way.
    """
    images = [_people(arrays, i) for i in range(len(arrays["input"]))]
    people = max(_PEOPLE, *(len(image["area"]) for image in images))
    padding = {"area": 1.0}

    def pad(name: str, array: np.ndarray) -> np.ndarray:
        fill = people - len(array)
        widths = ((0, fill), *((0, 0),) * (array.ndim - 1))
        return np.pad(array, widths, constant_values=padding.get(name, 0))

    stacked = {
        name: jnp.asarray(np.stack([pad(name, image[name]) for image in images]))
        for name in images[0]
    }
    mirrored = np.array([arrays[f"hflip_{i}"] for i in range(len(images))], bool)
    return Batch(
        image=jnp.asarray(denormalise(arrays["input"])),
        mask=jnp.asarray(arrays["heatmap_weight"][..., 0] > 0, jnp.uint8),
        mirrored=jnp.asarray(mirrored),
        **stacked,
    )


def denormalise(image: Float[np.ndarray, "B H W 3"]) -> UInt8[np.ndarray, "B H W 3"]:
    """The pixels that normalise to `image`."""
    mean = np.asarray(initial_poses.IMAGE_MEAN, np.float32)
    std = np.asarray(initial_poses.IMAGE_STD, np.float32)
    return np.rint((image * std + mean) * 255).astype(np.uint8)


def middle(
    mesh: Float[Array | np.ndarray, "*n E E K 2"],
) -> Float[Array | np.ndarray, "*n K 2"]:
    """The keypoints that a mesh lies around."""
    center = mesh.shape[-3] // 2
    return mesh[..., center, center, :, :]


def _people(arrays: Arrays, image: int) -> dict[str, np.ndarray]:
    joints = arrays[f"joints_with_center_{image}"]
    shift = (geometry.STRIDE - 1) / geometry.STRIDE * arrays[f"hflip_{image}"]
    points = ((joints[..., :2] + [shift, 0]) * geometry.STRIDE).astype(np.float32)
    labelled: np.ndarray = joints[:, :-1, 2] > 0
    return {
        "keypoints": points[:, :-1],
        "labelled": labelled,
        "area": arrays[f"joint_areas_{image}"][:, 0],
        "person": np.asarray(labelled.any(axis=1)),
        "has_center": np.asarray(joints[:, -1, 2] > 0),
        # Of no size: where a person has no keypoint, the centre is its middle.
        "box": np.concatenate([points[:, -1], points[:, -1]], axis=-1),
    }


def _step(loss, optimizer, variables: Variables, opt_state, batch: Batch) -> Step:
    def loss_fn(params):
        output = loss({**variables, "params": params}, batch)
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
        "heatmap_weight": (heat_weight * batch.mask)[..., None],
        "offset_target": off,
        "offset_weight": jnp.repeat(off_weight[..., None], 2, axis=-1),
    }


def _truth(
    config: LogoCapConfig, mesh: Array, example: Batch
) -> tuple[Assignment, Array]:
    """Ground truth of one image's slots, and the OKS of whole poses on the mesh."""
    height, width = example.image.shape[:2]
    truth = assign(
        mesh,
        example.keypoints,
        example.labelled
        & example.person[:, None]
        & geometry.contains(example.keypoints, height, width),
        example.area,
        jnp.asarray(config.skeleton.sigma_array),
        threshold=config.match_threshold,
    )
    count = jnp.maximum(jnp.sum(truth.visible, axis=-1), 1)
    return truth, jnp.sum(truth.kam, axis=-1) / count[:, None, None]
