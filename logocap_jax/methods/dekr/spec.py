"""DEKR as a method of the project."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods import scorer
from logocap_jax.methods.base import InputSpec, Method, MethodSpec, Variables
from logocap_jax.methods.dekr import stages, training
from logocap_jax.methods.dekr.config import TINY, DekrConfig
from logocap_jax.models.folding import prepare_variables


def make_dekr(config: DekrConfig) -> Method:
    """Build the method; its answer is the set `"dekr"`.

    The scorer learns from the poses of a single scale (specification, 4).

    Raises:
      ValueError: if there is a scorer, but the skeleton has no sticks.
    """
    loss = functools.partial(training.loss, config)
    return Method(
        init=functools.partial(_init, config),
        prepare=functools.partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=loss,
        predict=functools.partial(stages.predict, config),
        evaluate=functools.partial(stages.evaluate, config),
        explain=functools.partial(stages.explain, config),
        answer="dekr",
        parts=scorer.PARTS,
        stages=scorer.train_stages(
            config, loss, make_dekr, flip_test=True, test_scales=(1.0,)
        ),
    )


def _init(config: DekrConfig, key: Array) -> Variables:
    dense_key, scorer_key = jax.random.split(key)
    # The smallest input that every branch of an HRNet accepts.
    image = jnp.zeros((1, 64, 64, 3))
    variables = config.network().init(dense_key, image, train=False)
    dense = {collection: {"dense": tree} for collection, tree in variables.items()}
    return scorer.fresh_scorer(dense, config, scorer_key)


SPEC = MethodSpec(
    config=DekrConfig,
    make=make_dekr,
    tiny=TINY,
    inputs=lambda config: InputSpec(
        scales=config.other_scales, person_size=training.person_size(config)
    ),
    stages=stages.make_stages,
    dense=("heatmaps", "pose_map"),
    stage_settings=scorer.STAGE_SETTINGS,
)
