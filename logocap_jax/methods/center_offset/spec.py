"""The baseline: initial poses are the answer (CenterNet's scheme on an HRNet)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.base import (
    Explanation,
    LossOutput,
    Method,
    MethodSpec,
    Variables,
    subtree,
)
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.models.folding import prepare_variables
from logocap_jax.structures import Batch, Poses, View


def make_center_offset(config: InitialPosesConfig) -> Method:
    """Build the method.

    Args:
      config: settings.

    Returns:
      The method; its answer is the set `"initial"`.
    """
    network = config.network()

    def init(key: Array) -> Variables:
        variables = network.init(key, jnp.zeros((1, 64, 64, 3)), train=False)
        # As in LOGO-CAP, so that weights of either can start the other.
        return {collection: {"dense": tree} for collection, tree in variables.items()}

    def loss(variables: Variables, batch: Batch, key: Array) -> LossOutput:
        del key
        image = initial_poses.normalise(batch.image)
        maps, batch_stats = initial_poses.train_maps(
            network, subtree(variables, "dense"), image
        )
        terms = dense_loss.dense_losses(maps, batch, config)
        return LossOutput(
            loss=sum(terms.values(), jnp.zeros(())),
            terms=terms,
            counts={},
            batch_stats={"dense": batch_stats},
        )

    def explain(variables: Variables, view: View) -> Explanation:
        valid_size = view.valid_size
        normalised = initial_poses.normalise(view.image)
        maps = initial_poses.predict_maps(
            network, subtree(variables, "dense"), normalised, config, valid_size
        )

        def decode(heatmaps: Array, offsets: Array, valid_size: Array | None) -> Poses:
            initial = initial_poses.decode_initial(
                heatmaps[..., -1], offsets, config, valid_size
            )
            scored = initial_poses.score_initial(initial, heatmaps, valid_size)
            return suppress(scored)[0]

        poses = jax.vmap(decode)(maps.heatmaps, maps.offsets, valid_size)
        return Explanation(
            {"initial": poses}, initial_poses.heatmap_layers(maps, config)
        )

    def predict(variables: Variables, view: View) -> dict[str, Poses]:
        return explain(variables, view).outputs

    def evaluate(variables: Variables, batch: Batch) -> dict[str, Poses]:
        return predict(variables, View(batch.image))

    prepare = functools.partial(prepare_variables, dtype=network.dtype)
    return Method(init, prepare, loss, predict, evaluate, explain, answer="initial")


SPEC = MethodSpec(
    config=InitialPosesConfig,
    make=make_center_offset,
    tiny=initial_poses.TINY,
)
