"""The stages of a training step, on one device and a batch of reference arrays."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.logocap import training
from logocap_jax.methods.logocap.assignment import Assignment
from logocap_jax.methods.logocap.config import LogoCapConfig, Model
from logocap_jax.methods.logocap.stages import make_stages
from logocap_jax.parity.batches import training_batch
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.steps import Stepper
from logocap_jax.parity.walk import StageWalker
from logocap_jax.structures import Batch, DenseMaps

_TERMS = {
    "heatmap": "heatmap",
    "offset": "offset",
    "kam": "KAM",
    "refined": "refined",
}


class TrainingStages:
    """The stages of one model; each is compiled once per shape.

    Attributes:
      config: settings.
      stepper: takes steps.
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
        self.stepper = Stepper(functools.partial(training.loss, model), _TERMS)
        self.targets = jax.jit(functools.partial(_targets, config))
        self.maps = jax.jit(
            lambda tree, images: DenseMaps(
                *initial_poses.train_maps(model.dense, tree, images)[0]
            )
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

    The mask is where the heatmap weight, at least 0.1 elsewhere, is 0: a case holds it
    in no other way.
    """
    images = range(len(arrays["input"]))
    return training_batch(
        arrays["input"],
        masks=arrays["heatmap_weight"][..., 0] > 0,
        joints=[arrays[f"joints_with_center_{i}"] for i in images],
        sizes=[arrays[f"joint_areas_{i}"][:, 0] for i in images],
        mirrored=[arrays[f"hflip_{i}"] for i in images],
    )


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
