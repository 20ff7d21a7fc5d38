"""LOGO-CAP at test time: images -> poses."""

import dataclasses
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from logocap_jax import geometry
from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.methods.logocap import expansion, refine
from logocap_jax.methods.logocap.assignment import assign, best_of_mesh
from logocap_jax.methods.logocap.config import Model
from logocap_jax.ops.valid_rows import map_valid
from logocap_jax.structures import Batch, DenseMaps, Poses, View


def predict(model: Model, variables: Variables, view: View) -> dict[str, Poses]:
    """Find poses, in input px, after pose NMS.

    Args:
      model: settings and networks.
      variables: parameters and batch statistics.
      view: input images; all sizes are multiples of 32.

    Returns:
      `initial`: the fast keypointer's poses; `logocap`: those poses refined.
    """
    return _suppress_each(_predict_slots(model, variables, view))


def evaluate(model: Model, variables: Variables, batch: Batch) -> dict[str, Poses]:
    """As `predict`, and `bound`: the best that a perfect choice in the mesh reaches.

    The bound moves each keypoint of a slot to the position of its local KEM that is
    most similar to the person whom the slot can reach best, and keeps the refined
    pose's scores (the paper's empirical bound, appendix C).
    """
    slots = _predict_slots(model, variables, View(batch.image))
    height, width = batch.image.shape[1:3]

    def bound(initial: Array, example: Batch) -> Array:
        mesh = expansion.expand(initial, model.mesh_offsets)
        seen = geometry.contains(example.keypoints, height, width)
        truth = assign(
            mesh,
            example.keypoints,
            example.labelled & example.person[:, None] & seen,
            example.area,
            jnp.asarray(model.config.skeleton.sigma_array),
        )
        return best_of_mesh(mesh, truth)

    best = jax.vmap(bound)(slots["initial"].keypoints, batch)
    slots["bound"] = dataclasses.replace(slots["logocap"], keypoints=best)
    return _suppress_each(slots)


def _suppress_each(sets: dict[str, Poses]) -> dict[str, Poses]:
    """Pose NMS on each set; unlike a dict's, an OrderedDict's order survives `jit`."""
    return OrderedDict(
        (name, jax.vmap(suppress)(poses)[0]) for name, poses in sets.items()
    )


def _predict_slots(model: Model, variables: Variables, view: View) -> dict[str, Poses]:
    """Both result sets before pose NMS, slot by slot."""
    maps = initial_poses.predict_maps(
        *(
            model.dense,
            subtree(variables, "dense"),
            initial_poses.normalise(view.image),
        ),
        *(model.config, view.valid_size),
    )
    return read_maps(model, subtree(variables, "maps"), maps, view.valid_size)


def read_maps(
    model: Model,
    map_variables: Variables,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None = None,
) -> dict[str, Poses]:
    """All that follows the backbone, but pose NMS: both result sets, slot by slot."""
    initial = jax.vmap(
        lambda center, offsets, valid_size: initial_poses.decode_initial(
            center, offsets, model.config, valid_size
        )
    )(maps.heatmaps[..., -1], maps.offsets, valid_size)
    scored = jax.vmap(initial_poses.score_initial)(initial, maps.heatmaps, valid_size)
    refined = _refine_valid(model, map_variables, maps, initial, valid_size)
    return {"initial": scored, "logocap": refined}


def _refine_valid(
    model: Model,
    map_variables: Variables,
    maps: DenseMaps,
    initial: InitialPoses,
    valid_size: Int[Array, "B 2"] | None,
) -> Poses:
    """Refine the poses that there are; the time it takes follows their number.

    The slots of all images are packed together, so that a crowd in one of them does
    not cost the others anything.
    """
    shape = initial.valid.shape
    image = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
    slots = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (initial, image))

    def refine_some(slots: tuple[InitialPoses, Array]) -> Poses:
        some, image = slots
        mesh = expansion.expand(some.keypoints, model.mesh_offsets)
        features = expansion.sample_features(maps.embedding, mesh, valid_size, image)
        kam = _attraction_maps(model, map_variables, features)
        return refine_image(model, maps.heatmaps, some, kam, valid_size, image)

    chunk = min(model.config.slots_per_step, shape[1]) * shape[0]
    refined = map_valid(refine_some, slots, slots[0].valid, chunk=chunk)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), refined)


def predict_kam(
    model: Model,
    map_variables: Variables,
    maps: DenseMaps,
    initial: InitialPoses,
    valid_size: Int[Array, "B 2"] | None = None,
) -> Float[Array, "B N E E K"]:
    """The attraction maps of all slots, clipped to 0..1."""
    mesh = jax.vmap(expansion.expand, in_axes=(0, None))(
        initial.keypoints, model.mesh_offsets
    )
    features = jax.vmap(expansion.sample_features)(maps.embedding, mesh, valid_size)
    stacked = features.reshape(-1, *features.shape[2:])  # [B * N, E, E, K * D]
    kam = _attraction_maps(model, map_variables, stacked)
    return kam.reshape(*features.shape[:-1], -1)


def _attraction_maps(
    model: Model, map_variables: Variables, features: Float[Array, "S E E KD"]
) -> Float[Array, "S E E K"]:
    kam = model.maps.apply(map_variables, features, train=False)
    return jnp.clip(jnp.asarray(kam), 0, 1)


def refine_image(
    model: Model,
    heatmaps: Float[Array, "h w K1"] | Float[Array, "B h w K1"],
    initial: InitialPoses,
    kam: Float[Array, "N E E K"],
    valid_size: Int[Array, "2"] | Int[Array, "B 2"] | None = None,
    image: Int[Array, " N"] | None = None,
) -> Poses:
    """Refine one image's poses; only the top-left `valid_size`, px, of its maps counts.

    With `image` there are maps and valid sizes of several, and it says for each slot of
    which one it is. `config.refine_with` leaves out windows or attraction maps.

    A keypoint's score is that of its refined peak times the pose's centre value;
    poses whose mean score is not above 0 are dropped.
    """
    config = model.config
    window: Any = {
        "radius": config.window_radius,
        "sigma": config.window_sigma,
        "valid_size": valid_size,
        "image": image,
    }
    if config.refine_with == "kam":
        mesh = expansion.expand(initial.keypoints, model.mesh_offsets)
        keypoints, scores = refine.best_of_kam(kam, mesh)
    else:
        windows = refine.global_windows(heatmaps, initial.keypoints, **window)
        if config.refine_with == "both":
            windows = refine.adapt(windows, kam)
        keypoints, scores = refine.read_peaks(windows, initial.keypoints)
    scores = scores * initial.center_values[:, None]
    pose_scores = jnp.mean(scores, axis=-1)
    valid = initial.valid & (pose_scores > 0)
    return Poses(keypoints, scores, pose_scores, valid, initial.keypoints)
