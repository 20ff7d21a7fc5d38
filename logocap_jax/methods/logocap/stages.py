"""LOGO-CAP at test time: its named stages, and the functions built from them."""

import dataclasses
from collections import OrderedDict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import (
    Explanation,
    PatchLayer,
    Stage,
    Variables,
    subtree,
)
from logocap_jax.methods.logocap import expansion, refine
from logocap_jax.methods.logocap.assignment import assign_image, best_of_mesh
from logocap_jax.methods.logocap.config import LogoCapConfig, Model
from logocap_jax.methods.stages import SLOT_IMAGE, run_stages
from logocap_jax.structures import Batch, Poses, View

_SLOTS = ("initial", "center_values", "valid")


def make_stages(model: Model) -> tuple[Stage, ...]:
    """The named stages, from images to poses after pose NMS.

    Returns:
      The stages of `dense_stages` and `decode_stages`, then those that write `mesh`,
      `[B, N, E, E, K, 2]`, `latent`, the embedding there, `kam_raw`, the attraction
      maps before they are clipped to 0..1, `windows` and `adapted`, `[B, N, K, G, G]`,
      `keypoints` and `peak_values`, and `refined_poses`; last `outputs`, poses by
      result set, and `order`, the slot of each pose of the answer.
    """
    nms_reads = ("initial_poses", "refined_poses")
    return (
        *initial_poses.dense_stages(model.dense, model.config),
        *initial_poses.decode_stages(model.config),
        *_refine_stages(model),
        Stage("pose NMS", nms_reads, ("outputs", "order"), _suppress),
    )


def _refine_stages(model: Model) -> tuple[Stage, ...]:
    """The stages of slots."""
    config, peaks = model.config, ("keypoints", "peak_values")
    whole = ("heatmaps", "embedding", "valid_size")
    stage = partial(Stage, per_slot=config.slots_per_step, whole=whole)
    latent_reads = ("embedding", "mesh", SLOT_IMAGE, "valid_size")
    window_reads = ("heatmaps", "initial", SLOT_IMAGE, "valid_size")
    return (
        stage("mesh", ("initial",), ("mesh",), partial(_mesh, model)),
        stage("latent", latent_reads, ("latent",), _latent),
        stage("KAM", ("latent",), ("kam_raw",), partial(_kam, model)),
        stage("windows", window_reads, ("windows",), partial(_windows, config)),
        stage("adaptation", ("windows", "kam_raw"), ("adapted",), _adapt),
        {
            "both": stage("peaks", ("adapted", "initial"), peaks, _peaks),
            "kem": stage("peaks", ("windows", "initial"), peaks, _peaks),
            "kam": stage("peaks", ("kam_raw", "mesh"), peaks, _best_of_kam),
        }[config.refine_with],
        stage("scores", (*peaks, *_SLOTS), ("refined_poses",), _score),
    )


def _mesh(model: Model, _: Variables, initial: Array) -> tuple[Array]:
    return (expansion.expand(initial, model.mesh_offsets),)


def _latent(
    _: Variables, embedding: Array, mesh: Array, image: Array, sizes: Array | None
) -> tuple[Array]:
    return (expansion.sample_features(embedding, mesh, sizes, image),)


def _kam(model: Model, variables: Variables, latent: Array) -> tuple[Array]:
    kam = model.maps.apply(subtree(variables, "maps"), latent, train=False)
    return (jnp.asarray(kam),)


def _windows(
    config: LogoCapConfig,
    _: Variables,
    heatmaps: Array,
    initial: Array,
    image: Array,
    sizes: Array | None,
) -> tuple[Array]:
    windows = refine.global_windows(
        heatmaps,
        initial,
        radius=config.window_radius,
        sigma=config.window_sigma,
        valid_size=sizes,
        image=image,
    )
    return (windows,)


def _adapt(_: Variables, windows: Array, kam: Array) -> tuple[Array]:
    return (refine.adapt(windows, jnp.clip(kam, 0, 1)),)


def _peaks(_: Variables, windows: Array, initial: Array) -> tuple[Array, Array]:
    return refine.read_peaks(windows, initial)


def _best_of_kam(_: Variables, kam: Array, mesh: Array) -> tuple[Array, Array]:
    return refine.best_of_kam(jnp.clip(kam, 0, 1), mesh)


def _score(
    _: Variables,
    keypoints: Array,
    peak_values: Array,
    initial: Array,
    center_values: Array,
    valid: Array,
) -> tuple[Poses]:
    """Score poses; those whose mean score is not above 0 are dropped.

    A keypoint's score is that of its peak times the pose's centre value.
    """
    scores = peak_values * center_values[:, None]
    pose_scores = jnp.mean(scores, axis=-1)
    valid = valid & (pose_scores > 0)
    return (Poses(keypoints, scores, pose_scores, valid, initial),)


def _suppress(
    _: Variables, initial_poses: Poses, refined_poses: Poses
) -> tuple[dict[str, Poses], Array]:
    """Pose NMS on each set; unlike a dict's, an OrderedDict's order survives `jit`."""
    initial = jax.vmap(suppress)(initial_poses)[0]
    refined, order = jax.vmap(suppress)(refined_poses)
    return OrderedDict(initial=initial, logocap=refined), order


def predict(model: Model, variables: Variables, view: View) -> dict[str, Poses]:
    """Find poses, in input px, after pose NMS.

    Args:
      model: settings and networks.
      variables: parameters and batch statistics.
      view: input images; all sizes are multiples of 32.

    Returns:
      `initial`: initial poses; `logocap`: those poses refined.
    """
    return _run(model, variables, view, "outputs")["outputs"]


def evaluate(model: Model, variables: Variables, batch: Batch) -> dict[str, Poses]:
    """As `predict`, and `bound`: the best that a perfect choice in the mesh reaches.

    The bound moves each keypoint of a slot to the position of its local KEM that is
    most similar to the person whom the slot can reach best, and keeps the refined
    pose's scores (the paper's empirical bound, appendix C).
    """
    arrays = _run(model, variables, batch.view, "outputs", "initial", "refined_poses")
    best = jax.vmap(partial(_reach, model))(arrays["initial"], batch)
    bound = dataclasses.replace(arrays["refined_poses"], keypoints=best)
    return OrderedDict(arrays["outputs"], bound=jax.vmap(suppress)(bound)[0])


def _reach(
    model: Model, initial: Float[Array, "N K 2"], example: Batch
) -> Float[Array, "N K 2"]:
    """The best keypoints in the meshes of one image's slots."""
    mesh = expansion.expand(initial, model.mesh_offsets)
    truth = assign_image(mesh, example, model.config.skeleton)
    return best_of_mesh(mesh, truth)


def explain(model: Model, variables: Variables, view: View) -> Explanation:
    """Find poses as `predict` does, and keep the maps that lead to them.

    Args:
      model: settings and networks.
      variables: parameters and batch statistics.
      view: as for `predict`.
    """
    arrays = _run(model, variables, view, "outputs", "order", "kam_raw", "heatmaps")
    kam = jax.vmap(lambda kam, order: kam[order])(arrays["kam_raw"], arrays["order"])
    radius = tuple(np.abs(model.mesh_offsets[0, 0, :, 0]).tolist())
    layers = initial_poses.heatmap_layers(arrays["heatmaps"], model.config.skeleton)
    answer = {"logocap": arrays["outputs"]["logocap"]}
    kam_layer = PatchLayer(jnp.clip(kam, 0, 1), radius)
    return Explanation(answer, {**layers, "kam": kam_layer})


def _run(
    model: Model, variables: Variables, view: View, *wanted: str
) -> dict[str, Any]:
    return run_stages(make_stages(model), variables, vars(view), wanted)
