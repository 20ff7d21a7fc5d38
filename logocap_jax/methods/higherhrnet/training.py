"""The method's training loss.

Specification: `../shared/siblings/centergroup/spec.md`, 10.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.base import LossOutput, Variables
from logocap_jax.methods.higher_targets import cells_at, heatmap_loss
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.initial_poses import normalise, train_maps
from logocap_jax.methods.targets import loss_output
from logocap_jax.structures import Batch


def loss(
    config: HigherHRNetConfig, variables: Variables, batch: Batch, key: Array
) -> LossOutput:
    """The sum of three losses: heatmap, push, pull.

    Args:
      config: settings.
      variables: parameters and batch statistics.
      batch: images and people.
      key: not used: nothing is random.

    Returns:
      Loss, its weighted terms, and statistics.
    """
    del key
    image = normalise(batch.image)
    maps, dense_stats = train_maps(config.network(), variables, image)
    cells, exists = jax.vmap(lambda one: cells_at(one, config, STRIDE))(batch)
    push, pull = jax.vmap(tag_losses)(maps.tags, cells, exists)
    terms = {
        "heatmap": heatmap_loss(maps, batch, config),
        "push": config.push_weight * jnp.mean(push),
        "pull": config.pull_weight * jnp.mean(pull),
    }
    return loss_output(terms, variables, dense_stats)


def tag_losses(
    tags: Float[Array, "h w C"], cells: Int[Array, "P C 2"], exists: Bool[Array, "P C"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How near tags of different people are, and how far apart those of one person.

    Args:
      tags: of one image.
      cells: `(x, y)` of the joints of people.
      exists: which of them count.

    Returns:
      Push and pull, without their weights.
    """
    kind = jnp.arange(tags.shape[-1])
    x, y = jnp.moveaxis(jnp.where(exists[..., None], cells, 0), -1, 0)
    values = jnp.where(exists, tags[y, x, kind], 0)
    joints = jnp.maximum(jnp.sum(exists, axis=1), 1)
    means = jnp.sum(values, axis=1) / joints
    spread = jnp.where(exists, jnp.square(values - means[:, None]), 0)
    person = jnp.any(exists, axis=1)
    people = jnp.sum(person)
    pull = jnp.sum(jnp.sum(spread, axis=1) / joints) / jnp.maximum(people, 1)
    pairs = person[:, None] & person & ~jnp.eye(len(person), dtype=bool)
    near = jnp.where(pairs, jnp.exp(-jnp.square(means[:, None] - means)), 0)
    return 0.5 * jnp.sum(near) / jnp.maximum(people * (people - 1), 1), pull
