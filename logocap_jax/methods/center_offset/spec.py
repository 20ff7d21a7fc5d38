"""The baseline: initial poses are the answer (CenterNet's scheme on an HRNet)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import dense_loss, initial_poses, targets
from logocap_jax.methods.base import (
    Explanation,
    LossOutput,
    Method,
    MethodSpec,
    Stage,
    Variables,
)
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.scene import make_scene
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.folding import prepare_variables
from logocap_jax.structures import Batch, DenseMaps, Poses, View


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
        maps, dense_stats = initial_poses.train_maps(network, variables, image)
        terms = dense_loss.dense_losses(DenseMaps(*maps), batch, config)
        return targets.loss_output(terms, variables, dense_stats)

    def run(variables: Variables, view: View, *wanted: str) -> dict[str, Any]:
        return run_stages(make_stages(config), variables, vars(view), wanted)

    def predict(variables: Variables, view: View) -> dict[str, Poses]:
        return run(variables, view, "outputs")["outputs"]

    def explain(variables: Variables, view: View) -> Explanation:
        arrays = run(variables, view, "outputs", "heatmaps")
        layers = initial_poses.heatmap_layers(arrays["heatmaps"], config.skeleton)
        return Explanation(arrays["outputs"], layers)

    def evaluate(variables: Variables, batch: Batch) -> dict[str, Poses]:
        return predict(variables, batch.view)

    prepare = functools.partial(prepare_variables, dtype=network.dtype)
    return Method(init, prepare, loss, predict, evaluate, explain, answer="initial")


def make_stages(config: InitialPosesConfig) -> tuple[Stage, ...]:
    """The named stages at test time, from images to poses after pose NMS."""

    def suppress_all(_: Variables, poses: Poses) -> tuple[dict[str, Poses]]:
        return ({"initial": jax.vmap(suppress)(poses)[0]},)

    return (
        *initial_poses.dense_stages(config.network(), config),
        *initial_poses.decode_stages(config),
        Stage("pose NMS", ("initial_poses",), ("outputs",), suppress_all),
    )


SPEC = MethodSpec(
    config=InitialPosesConfig,
    make=make_center_offset,
    tiny=initial_poses.TINY,
    stages=make_stages,
    dense=("heatmaps", "offsets"),
    scene=make_scene,
)
