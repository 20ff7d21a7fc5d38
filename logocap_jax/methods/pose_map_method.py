"""Methods made of pose maps and a scorer, from their stages and their loss."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logocap_jax.methods import scorer
from logocap_jax.methods.base import (
    Explanation,
    LossFn,
    Method,
    Stage,
    Variables,
)
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.folding import prepare_variables
from logocap_jax.structures import Poses, View

_Config = TypeVar("_Config", bound=PoseMapConfig)


def make_method(
    config: _Config,
    answer: str,
    *,
    stages: Callable[[_Config], tuple[Stage, ...]],
    loss: Callable[..., Any],
    explain: Callable[..., Explanation],
    finding: Mapping[str, Any] = {},
) -> Method:
    """Build a method whose last stage writes `outputs`, poses by result set.

    Its scorer learns from poses of a single scale, averaged with the mirror image
    (specification, 4).

    Args:
      config: settings; `network()` makes the network of the subtree `dense`.
      answer: name of the set that is the method's answer.
      stages: settings -> the named stages.
      loss: a `LossFn` behind the settings.
      explain: an `ExplainFn` behind the settings.
      finding: further settings to find the poses with that the scorer learns from.

    Raises:
      ValueError: if there is a scorer, but the skeleton has no sticks.
    """

    def predict(variables: Variables, view: View) -> dict[str, Poses]:
        found = run_stages(stages(config), variables, vars(view), ("outputs",))
        return found["outputs"]

    def make(config: _Config) -> Method:
        return make_method(config, answer, stages=stages, loss=loss, explain=explain)

    loss_fn: LossFn = partial(loss, config)
    finding = {"flip_test": True, "test_scales": (1.0,), **finding}
    return Method(
        init=partial(_init, config),
        prepare=partial(prepare_variables, dtype=jnp.dtype(config.dtype)),
        loss=loss_fn,
        predict=predict,
        evaluate=lambda variables, batch: predict(variables, batch.view),
        explain=partial(explain, config),
        answer=answer,
        parts=scorer.PARTS,
        stages=scorer.train_stages(config, loss_fn, make, **finding),
    )


def _init(config: Any, key: Array) -> Variables:
    dense_key, scorer_key = jax.random.split(key)
    # The smallest input that every branch of an HRNet accepts.
    image = jnp.zeros((1, 64, 64, 3))
    variables = config.network().init(dense_key, image, train=False)
    dense = {collection: {"dense": tree} for collection, tree in variables.items()}
    return scorer.fresh_scorer(dense, config, scorer_key)
