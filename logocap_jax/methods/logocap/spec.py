"""LOGO-CAP as a method of the project."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import Method, MethodSpec, Variables
from logocap_jax.methods.initial_poses import TINY
from logocap_jax.methods.logocap import stages, training
from logocap_jax.methods.logocap.config import LogoCapConfig, Model, build_model
from logocap_jax.methods.scene import make_scene
from logocap_jax.models.folding import prepare_variables

# The smallest input that every branch of an HRNet accepts; sizes of parameters do
# not depend on it.
_INIT_SIZE = 64


def make_logocap(config: LogoCapConfig) -> Method:
    """Build the method.

    Args:
      config: settings.

    Returns:
      The method; its answer is the set `"logocap"`.
    """
    model = build_model(config)
    return Method(
        init=functools.partial(_init, model),
        prepare=functools.partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=functools.partial(training.loss, model),
        predict=functools.partial(stages.predict, model),
        evaluate=functools.partial(stages.evaluate, model),
        explain=functools.partial(stages.explain, model),
        answer="logocap",
        oracles=frozenset({"bound"}),
    )


def _init(model: Model, key: Array) -> Variables:
    config = model.config
    dense_key, map_key = jax.random.split(key)
    image = jnp.zeros((1, _INIT_SIZE, _INIT_SIZE, 3))
    dense = model.dense.init(dense_key, image, train=False)
    channels = config.skeleton.num_keypoints * config.embedding
    features = jnp.zeros((1, config.mesh_size, config.mesh_size, channels))
    maps = model.maps.init(map_key, features, train=False)
    return {
        collection: {"dense": dense[collection], "maps": maps[collection]}
        for collection in ("params", "batch_stats")
    }


SPEC = MethodSpec(
    config=LogoCapConfig,
    make=make_logocap,
    tiny={
        **TINY,
        "embedding": 2,
        "message_channels": (4, 4, 4),
        "affines": 2,
        "mesh_size": 3,
        "window_radius": 6,
        "instance_budget": 3,
    },
    stages=lambda config: stages.make_stages(build_model(config)),
    dense=("heatmaps", "offsets"),
    scene=lambda config: make_scene(config, embedding=config.embedding),
)
