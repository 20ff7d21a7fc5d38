"""DEKR as a method of the project."""

import functools

import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import (
    InputSpec,
    Method,
    MethodSpec,
    Variables,
)
from logocap_jax.methods.dekr import stages, training
from logocap_jax.methods.dekr.config import TINY, DekrConfig
from logocap_jax.models.folding import prepare_variables


def make_dekr(config: DekrConfig) -> Method:
    """Build the method; its answer is the set `"dekr"`."""
    return Method(
        init=functools.partial(_init, config),
        prepare=functools.partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=functools.partial(training.loss, config),
        predict=functools.partial(stages.predict, config),
        evaluate=functools.partial(stages.evaluate, config),
        explain=functools.partial(stages.explain, config),
        answer="dekr",
    )


def _init(config: DekrConfig, key: Array) -> Variables:
    # The smallest input that every branch of an HRNet accepts.
    image = jnp.zeros((1, 64, 64, 3))
    variables = config.network().init(key, image, train=False)
    return {collection: {"dense": tree} for collection, tree in variables.items()}


SPEC = MethodSpec(
    config=DekrConfig,
    make=make_dekr,
    tiny=TINY,
    inputs=lambda config: InputSpec(
        person_size=training.person_size(config), scales=config.other_scales
    ),
    stages=stages.make_stages,
    dense=("heatmaps", "pose_map"),
)
