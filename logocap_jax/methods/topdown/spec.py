"""Top-down pose estimation as a method of the project."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods.base import Method, MethodSpec, Variables
from logocap_jax.methods.stages import run_stages
from logocap_jax.methods.topdown import stages, training
from logocap_jax.methods.topdown.config import TINY, TopDownConfig
from logocap_jax.models.folding import prepare_variables
from logocap_jax.structures import Batch, Poses, View


def make_topdown(config: TopDownConfig) -> Method:
    """Build the method; its only set is `"topdown"`."""

    def init(key: Array) -> Variables:
        # The smallest input that every branch of an HRNet accepts.
        variables = config.network().init(key, jnp.zeros((1, 64, 64, 3)), train=False)
        return {collection: {"dense": tree} for collection, tree in variables.items()}

    def predict(variables: Variables, view: View) -> dict[str, Poses]:
        wanted = ("outputs",)
        found = run_stages(stages.make_stages(config), variables, vars(view), wanted)
        return found["outputs"]

    def evaluate(variables: Variables, batch: Batch) -> dict[str, Poses]:
        return predict(variables, batch.view)

    return Method(
        init=init,
        prepare=partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=partial(training.loss, config),
        predict=predict,
        evaluate=evaluate,
        explain=partial(stages.explain, config),
        answer="topdown",
    )


SPEC = MethodSpec(
    config=TopDownConfig,
    make=make_topdown,
    tiny=TINY,
    inputs=TopDownConfig.inputs,
    stages=stages.make_stages,
)
