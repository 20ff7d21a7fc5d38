"""The baseline: initial poses are the answer (CenterNet's scheme on an HRNet)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.base import (
    Explanation,
    LossOutput,
    Method,
    Variables,
    part,
)
from logocap_jax.methods.initial_poses import KeypointerConfig
from logocap_jax.models.folding import prepare_variables
from logocap_jax.structures import Batch, Poses


def make_center_offset(config: KeypointerConfig) -> Method:
    """Build the method.

    Args:
      config: settings.

    Returns:
      The method; `Method.result` is `"initial"`.
    """
    network = config.network()

    def init(key: Array) -> Variables:
        variables = network.init(key, jnp.zeros((1, 64, 64, 3)), train=False)
        # As in LOGO-CAP, so that weights of either can start the other.
        return {collection: {"dense": tree} for collection, tree in variables.items()}

    def loss(variables: Variables, batch: Batch) -> LossOutput:
        image = initial_poses.normalise(batch.image)
        maps, batch_stats = initial_poses.train_maps(
            network, part(variables, "dense"), image
        )
        terms = dense_loss.dense_losses(maps, batch, config)
        return LossOutput(
            sum(terms.values(), jnp.zeros(())), terms, {}, {"dense": batch_stats}
        )

    def explain(
        variables: Variables,
        image: UInt8[Array, "B H W 3"],
        valid_size: Int[Array, "B 2"] | None = None,
    ) -> Explanation:
        normalised = initial_poses.normalise(image)
        maps = initial_poses.predict_maps(
            network, part(variables, "dense"), normalised, config, valid_size
        )

        def decode(heatmaps: Array, offsets: Array, valid_size: Array | None) -> Poses:
            initial = initial_poses.decode_initial(
                heatmaps[..., -1], offsets, config, valid_size
            )
            return suppress(initial_poses.score_initial(initial, heatmaps, valid_size))[
                0
            ]

        poses = jax.vmap(decode)(maps.heatmaps, maps.offsets, valid_size)
        return Explanation(poses, maps.heatmaps)

    def predict(
        variables: Variables,
        image: UInt8[Array, "B H W 3"],
        valid_size: Int[Array, "B 2"] | None = None,
    ) -> dict[str, Poses]:
        return {"initial": explain(variables, image, valid_size).poses}

    def evaluate(variables: Variables, batch: Batch) -> dict[str, Poses]:
        return predict(variables, batch.image)

    prepare = functools.partial(prepare_variables, dtype=network.dtype)
    return Method(init, prepare, loss, predict, evaluate, explain, result="initial")
