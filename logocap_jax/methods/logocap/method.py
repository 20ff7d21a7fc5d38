"""LOGO-CAP as a `Method`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from logocap_jax.methods.base import Method, Variables
from logocap_jax.methods.logocap import explanation, prediction, training
from logocap_jax.methods.logocap.config import LogoCapConfig, Parts, make_parts
from logocap_jax.models.folding import prepare_variables

# The smallest input that every branch of an HRNet accepts; sizes of parameters do
# not depend on it.
_INIT_SIZE = 64


def make_logocap(config: LogoCapConfig) -> Method:
    """Build the method.

    Args:
      config: settings.

    Returns:
      The method; `Method.result` is `"logocap"`.
    """
    parts = make_parts(config)
    return Method(
        init=functools.partial(_init, parts),
        prepare=functools.partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=functools.partial(training.loss, parts),
        predict=functools.partial(prediction.predict, parts),
        evaluate=functools.partial(prediction.evaluate, parts),
        explain=functools.partial(explanation.explain, parts),
        result="logocap",
        kam_radius=np.abs(parts.mesh_offsets[0, 0, :, 0]),
    )


def _init(parts: Parts, key: Array) -> Variables:
    config = parts.config
    dense_key, map_key = jax.random.split(key)
    image = jnp.zeros((1, _INIT_SIZE, _INIT_SIZE, 3))
    dense = parts.dense.init(dense_key, image, train=False)
    channels = config.skeleton.num_keypoints * config.embedding
    features = jnp.zeros((1, config.mesh_size, config.mesh_size, channels))
    maps = parts.maps.init(map_key, features, train=False)
    return {
        collection: {"dense": dense[collection], "maps": maps[collection]}
        for collection in ("params", "batch_stats")
    }
