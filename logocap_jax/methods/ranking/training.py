"""The training loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logocap_jax.geometry import STRIDE
from logocap_jax.methods import targets
from logocap_jax.methods.base import LossOutput, Variables
from logocap_jax.methods.initial_poses import normalise, train_maps
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.network import HeadMaps
from logocap_jax.methods.targets import LossRules, loss_output, loss_rules
from logocap_jax.structures import Batch


def loss(
    config: RankingConfig, variables: Variables, batch: Batch, key: Array
) -> LossOutput:
    """The sum of losses: heatmaps, offsets, fine heatmaps (specification, 10 and 6).

    Args:
      config: settings.
      variables: parameters and batch statistics.
      batch: images and people, measured by their boxes.
      key: not used: nothing is random.

    Returns:
      Loss, its weighted terms, and statistics.
    """
    del key
    image = normalise(batch.image)
    maps, dense_stats = train_maps(config.network(), variables, image)
    terms = targets.map_losses(
        all_heatmaps(config, maps), maps.offsets, batch, rules(config)
    )
    if maps.fine is not None:
        terms["fine"] = _fine_loss(config, maps.fine, batch)
    return loss_output(terms, variables, dense_stats)


def all_heatmaps(config: RankingConfig, maps: HeadMaps) -> Float[Array, "*R B h w K1"]:
    """Heatmaps that learn, the centre's last: the blocks' mean, or each block's own.

    Each block has its own loss beside fine heatmaps only (specification, 6).
    """
    if not config.fine_hidden:
        mean = jnp.mean(maps.heatmaps, axis=0)
        return jnp.concatenate([mean, maps.centers], axis=-1)
    centers = jnp.broadcast_to(maps.centers, (*maps.heatmaps.shape[:-1], 1))
    return jnp.concatenate([maps.heatmaps, centers], axis=-1)


def _fine_loss(
    config: RankingConfig, fine: Float[Array, "B h w K"], batch: Batch
) -> Float[Array, ""]:
    fine_rules = rules(config)._replace(background_weight=config.fine_background_weight)
    target, weight = jax.vmap(
        lambda one: targets.heatmap_targets(one, fine_rules, stride=STRIDE // 2)
    )(batch)
    count = fine.shape[-1]  # without the centre
    return targets.heatmap_loss(fine, target[..., :count], weight[..., :count])


def rules(config: RankingConfig) -> LossRules:
    """How people become targets (specification, 9).

    Reference behaviour, unlike the paper's: all heatmaps have the same weights.
    """
    return loss_rules(
        config,
        weight_per_kind=not config.is_reference,
        center_of_box=config.center == "box",
    )


def mask_strides(config: RankingConfig) -> tuple[int, ...]:
    """Strides of the loss masks, input px."""
    return (STRIDE, STRIDE // 2) if config.fine_hidden else (STRIDE,)
