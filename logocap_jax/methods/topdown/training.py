"""The training loss of a top-down method."""

from jaxtyping import Array

from logocap_jax.methods.base import LossOutput, Variables, subtree
from logocap_jax.methods.initial_poses import normalise
from logocap_jax.methods.targets import loss_output
from logocap_jax.methods.topdown.config import TopDownConfig
from logocap_jax.methods.topdown.heads import HEADS, labels_of
from logocap_jax.structures import Batch


def loss(
    config: TopDownConfig, variables: Variables, batch: Batch, key: Array
) -> LossOutput:
    """The sum of the head's losses.

    Args:
      config: settings.
      variables: parameters and batch statistics.
      batch: crops; the first person of each is the one it is of.
      key: not used: nothing is random.

    Returns:
      Loss, its terms, and statistics.
    """
    del key
    maps, updates = config.network().apply(
        subtree(variables, "dense"),
        normalise(batch.image),
        train=True,
        mutable=["batch_stats"],
    )
    labelled = batch.labelled[:, 0] & batch.person[:, :1]
    labels = labels_of(batch.keypoints[:, 0], labelled)
    terms = HEADS[config.head].losses(maps, labels)
    return loss_output(terms, variables, updates["batch_stats"])
