"""LOGO-CAP's training loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from logocap_jax import losses
from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.base import LossOutput, Variables, subtree
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.methods.logocap import expansion, refine
from logocap_jax.methods.logocap.assignment import Assignment, assign_image
from logocap_jax.methods.logocap.config import LogoCapConfig, Model
from logocap_jax.ops.peaks import largest
from logocap_jax.structures import Batch, DenseMaps


def loss(model: Model, variables: Variables, batch: Batch, key: Array) -> LossOutput:
    """The sum of four losses: heatmap, offset, attraction map, refined map.

    Args:
      model: settings and networks.
      variables: parameters and batch statistics.
      batch: images and people.
      key: not used: nothing is random.

    Returns:
      Loss, its four weighted terms, the number of matched slots, and statistics.
    """
    del key
    image = initial_poses.normalise(batch.image)
    maps, dense_stats = initial_poses.train_maps(model.dense, variables, image)
    maps = DenseMaps(*maps)
    terms = dense_loss.dense_losses(maps, batch, model.config)
    initial, truth = jax.vmap(lambda *args: _slots(model, *args))(
        jax.lax.stop_gradient(maps.heatmaps[..., -1]),
        jax.lax.stop_gradient(maps.offsets),
        batch,
        jax.lax.stop_gradient(maps.selector),
    )
    initial, truth, takes_part = jax.vmap(
        lambda *args: _pack(*args, budget=model.config.instance_budget)
    )(initial, truth)
    mesh = jax.vmap(expansion.expand, in_axes=(0, None))(
        initial.keypoints, model.mesh_offsets
    )
    kam, map_stats = attraction_maps(model, variables, maps.embedding, mesh, takes_part)
    terms["kam"] = _kam_loss(kam, truth, model.config)
    terms["refined"] = _refined_loss(
        maps, initial, kam, truth, takes_part, model.config
    )
    return LossOutput(
        loss=sum(terms.values(), start=jnp.zeros(())),
        terms=terms,
        counts={"matched_slots": jnp.sum(truth.matched)},
        batch_stats={"dense": dense_stats, "maps": map_stats},
    )


def _slots(
    model: Model,
    center_map: Array,
    offsets: Array,
    example: Batch,
    selector: Array | None,
) -> tuple[InitialPoses, Assignment]:
    """The pose slots of one image and their ground truth.

    Args:
      model: settings and networks.
      center_map: [h, w], predicted.
      offsets: [h, w, K, 2], predicted.
      example: one image's ground truth, a `Batch` without `B`.
      selector: [h, w, C], logits; None: there is none.
    """
    initial = initial_poses.decode_initial(center_map, offsets, model.config, selector)
    mesh = expansion.expand(initial.keypoints, model.mesh_offsets)
    return initial, slot_truth(model.config, mesh, example)


def slot_truth(
    config: LogoCapConfig, mesh: Float[Array, "N E E K 2"], example: Batch
) -> Assignment:
    """The ground truth of one image's slots."""
    return assign_image(
        mesh, example, config.skeleton, threshold=config.match_threshold
    )


def matched_slots(matched: Bool[Array, " N"]) -> Bool[Array, " N"]:
    """The slots of one image that take part in message passing.

    An image without a match still sends its first slot, where it counts in the batch
    statistics but in no loss (reference behaviour).
    """
    return matched.at[0].set(matched[0] | ~jnp.any(matched))


def _pack(
    initial: InitialPoses, truth: Assignment, *, budget: int
) -> tuple[InitialPoses, Assignment, Bool[Array, " S"]]:
    """Keep the best `budget` slots of one image, matched ones first.

    Returns:
      The slots kept, their ground truth, and which of them take part.
    """
    takes_part = matched_slots(truth.matched)
    rank = jnp.where(takes_part, truth.slot_oks + 1, 0)
    budget = min(budget, rank.shape[0])
    _, index = largest(rank, budget)
    index = jnp.sort(index)
    kept_initial, kept_truth = jax.tree.map(lambda x: x[index], (initial, truth))
    return kept_initial, kept_truth, takes_part[index]


def attraction_maps(
    model: Model,
    variables: Variables,
    embedding: Float[Array, "B h w D"],
    mesh: Float[Array, "B S E E K 2"],
    takes_part: Bool[Array, "B S"],
) -> tuple[Float[Array, "B S E E K"], Variables]:
    """The attraction maps of slots in training, and new batch statistics."""
    features = jax.vmap(expansion.sample_features)(embedding, mesh)
    kam, updates = model.maps.apply(
        subtree(variables, "maps"),
        features.reshape(-1, *features.shape[2:]),  # [B * S, E, E, K * D]
        train=True,
        mask=takes_part.reshape(-1),
        mutable=["batch_stats"],
    )
    return kam.reshape(*features.shape[:-1], -1), updates["batch_stats"]


def _kam_loss(
    kam: Float[Array, "B S E E K"], truth: Assignment, config: LogoCapConfig
) -> Float[Array, ""]:
    """`sum_n mean_kij((KAM - T)^2 q) / max(1, matched slots)`, weighted."""
    error = losses.squared_error(kam, truth.kam) * truth.gain[:, :, None, None]
    per_slot = jnp.mean(error, axis=(2, 3, 4))
    count = jnp.maximum(jnp.sum(truth.matched), 1)
    return config.kam_loss_weight * jnp.sum(per_slot) / count


def _refined_loss(
    maps: DenseMaps,
    initial: InitialPoses,
    kam: Float[Array, "B S E E K"],
    truth: Assignment,
    takes_part: Bool[Array, "B S"],
    config: LogoCapConfig,
) -> Float[Array, ""]:
    """`mean((refined - T)^2 q)` over the windows of the slots that take part."""

    def window_errors(*arrays: Array) -> Float[Array, "S K"]:
        error = losses.squared_error(*refined_windows(config, *arrays))
        return jnp.mean(error, axis=(2, 3))

    error = jax.vmap(window_errors)(
        maps.heatmaps[..., :-1], initial.keypoints, kam, truth.keypoints
    )
    per_slot = jnp.mean(error * truth.gain, axis=-1)
    count = jnp.maximum(jnp.sum(takes_part), 1)
    return jnp.sum(jnp.where(takes_part, per_slot, 0)) / count


def refined_windows(
    config: LogoCapConfig,
    heatmaps: Float[Array, "h w K1"],
    keypoints: Float[Array, "S K 2"],
    kam: Float[Array, "S E E K"],
    truth: Float[Array, "S K 2"],
) -> tuple[Float[Array, "S K G G"], Float[Array, "S K G G"]]:
    """Refined windows of one image and their targets, by initial and true keypoints."""
    radius = config.window_radius
    windows = refine.global_windows(
        heatmaps, keypoints, radius=radius, sigma=config.window_sigma
    )
    target = refine.refined_targets(
        keypoints, truth, radius=radius, sigma=config.refined_sigma
    )
    return refine.adapt(windows, kam), target
