"""Ground truth of pose slots: their person, and target attraction maps."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import geometry
from logocap_jax.oks import keypoint_similarity
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import Batch


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Assignment:
    """Ground truth of the pose slots of one image.

    Attributes:
      keypoints: keypoints of the slot's person, input px.
      visible: which of them are labelled and inside the input.
      kam: target attraction map, the similarity of each mesh position.
      slot_oks: the best similarity that one position of the mesh reaches for the
        whole pose.
      matched: `slot_oks` reaches the threshold.
      gain: `q`, by how much the best position beats the mesh's centre.
    """

    keypoints: Float[Array, "*B N K 2"]
    visible: Bool[Array, "*B N K"]
    kam: Float[Array, "*B N E E K"]
    slot_oks: Float[Array, "*B N"]
    matched: Bool[Array, "*B N"]
    gain: Float[Array, "*B N K"]


def assign(
    mesh_input: Float[Array, "N E E K 2"],
    keypoints_input: Float[Array, "P K 2"],
    visible: Bool[Array, "P K"],
    area: Float[Array, " P"],
    sigmas: Float[Array, " K"],
    *,
    threshold: float = 0.5,
) -> Assignment:
    """Assign each slot of one image to the person that its mesh can reach best.

    With `oks[n, i, j, g, k]` the similarity of slot `n`'s mesh position `(i, j)` to
    person `g`, the person is the one with the largest `mean_k max_ij oks`, and the
    slot is matched where `max_ij mean_k oks` of that person reaches the threshold.
    Keypoints that are not visible give 0 and do not count in means.

    Args:
      mesh_input: meshes, input px.
      keypoints_input: people's keypoints, input px.
      visible: labelled and inside the input; all False for padded people.
      area: people's areas, input px^2.
      sigmas: the skeleton's sigmas.
      threshold: similarity that makes a match.

    Returns:
      The assignment. `gain` is 0 for slots that are not matched.
    """

    def similarity(truth: Array, is_visible: Array, size: Array) -> Array:
        values = keypoint_similarity(mesh_input, truth, size, sigmas)
        return jnp.where(is_visible, values, 0)  # [N, E, E, K]

    def reach(truth: Array, is_visible: Array, size: Array) -> Array:
        best = jnp.max(similarity(truth, is_visible, size), axis=(1, 2))  # [N, K]
        return _mean_visible(best, is_visible)  # [N]

    # One person after the other, so that [N, E, E, P, K] never exists.
    reached = jax.lax.map(lambda args: reach(*args), (keypoints_input, visible, area))
    person = jnp.argmax(reached, axis=0)  # [P, N] -> [N]

    def targets(mesh: Array, g: Array) -> Array:  # [E, E, K 2] -> [E, E, K]
        values = keypoint_similarity(mesh, keypoints_input[g], area[g], sigmas)
        return jnp.where(visible[g], values, 0)

    kam = jax.vmap(targets)(mesh_input, person)  # [N, E, E, K]
    slot_visible = visible[person]  # [N, K]
    poses = _mean_visible(kam, slot_visible[:, None, None])  # [N, E, E]
    slot_oks = jnp.max(poses, axis=(1, 2))
    matched = slot_oks >= threshold
    center = kam.shape[1] // 2
    gain = jnp.max(kam, axis=(1, 2)) - kam[:, center, center]
    gain = gain * matched[:, None]
    return Assignment(
        keypoints_input[person], slot_visible, kam, slot_oks, matched, gain
    )


def assign_image(
    mesh_input: Float[Array, "N E E K 2"],
    example: Batch,
    skeleton: Skeleton,
    *,
    threshold: float = 0.5,
) -> Assignment:
    """Assign the slots of one image; keypoints outside of it are not visible.

    Args:
      mesh_input: meshes, input px.
      example: the image's ground truth, a `Batch` without `B`.
      skeleton: its keypoints.
      threshold: as for `assign`.
    """
    height, width = example.image.shape[:2]
    inside = geometry.contains(example.keypoints, height, width)
    return assign(
        mesh_input,
        example.keypoints,
        example.labelled & example.person[:, None] & inside,
        example.area,
        jnp.asarray(skeleton.sigma_array),
        threshold=threshold,
    )


def best_of_mesh(
    mesh_input: Float[Array, "N E E K 2"], assignment: Assignment
) -> Float[Array, "N K 2"]:
    """Per keypoint the mesh position most similar to the truth (appendix C).

    For a keypoint that is not visible: the mesh's centre, its initial position.
    """
    slots, mesh_size, _, num_keypoints, _ = mesh_input.shape
    flat = assignment.kam.reshape(slots, mesh_size * mesh_size, num_keypoints)
    best = jnp.argmax(flat, axis=1)  # [N, K]
    best = jnp.where(assignment.visible, best, (mesh_size * mesh_size) // 2)
    mesh = mesh_input.reshape(slots, mesh_size * mesh_size, num_keypoints, 2)
    return jnp.take_along_axis(mesh, best[:, None, :, None], axis=1)[:, 0]


def _mean_visible(
    values: Float[Array, "*shape K"], visible: Bool[Array, "*mask K"]
) -> Float[Array, "*shape"]:
    """Mean over visible keypoints; `values` are 0 elsewhere."""
    return jnp.sum(values, axis=-1) / jnp.maximum(jnp.sum(visible, axis=-1), 1)
