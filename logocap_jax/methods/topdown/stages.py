"""A top-down method at test time: its named stages, and explanation."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logocap_jax.codecs.proposals import average_mirrored
from logocap_jax.geometry import STRIDE, CellRule
from logocap_jax.methods.base import Explanation, MapLayer, Stage, Variables, subtree
from logocap_jax.methods.initial_poses import NORMALISATION, mirror_stage
from logocap_jax.methods.stages import run_stages
from logocap_jax.methods.topdown.config import TopDownConfig
from logocap_jax.methods.topdown.heads import HEADS, Found
from logocap_jax.structures import Poses, View

# Cells lie at the pixels that are multiples of the stride.
CELLS = CellRule(STRIDE, 0.0)


def make_stages(config: TopDownConfig) -> tuple[Stage, ...]:
    """The named stages, from crops to one pose each.

    Returns:
      Stages that write `features` and `maps`, of crop and mirror image; `found`, their
      keypoints; `merged`, the average; last `outputs`, poses by result set.
    """
    return (
        NORMALISATION,
        mirror_stage(flip_test=config.flip_test),
        Stage(
            "backbone", ("inputs",), ("features",), partial(_run, config, "backbone")
        ),
        Stage("head", ("features",), ("maps",), partial(_run, config, "head")),
        Stage("keypoints", ("maps",), ("found",), partial(_decode, config)),
        Stage("flip merge", ("found", "image"), ("merged",), partial(_merge, config)),
        Stage("poses", ("merged", "image"), ("outputs",), partial(_poses, config)),
    )


def _run(
    config: TopDownConfig, part: str, variables: Variables, given: Array
) -> tuple[Any]:
    dense = subtree(variables, "dense")
    return (config.network().apply(dense, given, train=False, part=part),)


def _decode(
    config: TopDownConfig, _: Variables, maps: dict[str, Array]
) -> tuple[Found]:
    return (HEADS[config.head].decode(maps),)


def _merge(
    config: TopDownConfig, _: Variables, found: Found, image: Array
) -> tuple[Found]:
    """Average what each pass has found; maps are not averaged (specification, 5)."""
    if not config.flip_test:
        return (found,)
    count, width = image.shape[0], image.shape[2]
    average = partial(
        average_mirrored,
        flip_index=tuple(config.skeleton.flip_index.tolist()),
        shift=1 / width,
    )
    halves = (
        part
        for half in (slice(count), slice(count, None))
        for part in (found.points[half], found.scores[half])
    )
    return (Found(*jax.vmap(average)(*halves)),)


def _poses(
    config: TopDownConfig, _: Variables, found: Found, image: Array
) -> tuple[dict[str, Poses]]:
    height, width = image.shape[1:3]
    scores = person_score(found.scores, config.keypoint_threshold)
    return (
        {
            "topdown": Poses(
                (found.points * jnp.array([width, height]))[:, None],
                found.scores[:, None],
                scores[:, None],
                jnp.ones((len(scores), 1), bool),
            )
        },
    )


def person_score(scores: Float[Array, "*B K"], threshold: float) -> Float[Array, "*B"]:
    """The mean of the keypoint scores above a threshold; 0 if none is."""
    above = scores > threshold
    total = jnp.sum(jnp.where(above, scores, 0), axis=-1)
    return total / jnp.maximum(jnp.sum(above, axis=-1), 1)


def explain(config: TopDownConfig, variables: Variables, view: View) -> Explanation:
    """Find poses as `predict` does, and keep the maps that keypoints are chosen on."""
    wanted = ("outputs", "maps")
    arrays = run_stages(make_stages(config), variables, vars(view), wanted)
    layers = {}
    if shown := HEADS[config.head].SHOWN:
        name, is_logit = shown
        values = arrays["maps"][name][: view.image.shape[0]]
        values = jax.nn.sigmoid(values) if is_logit else values
        layers["heatmaps"] = MapLayer(values, config.skeleton.keypoints, CELLS)
    return Explanation(arrays["outputs"], layers)
