"""Parts of a model that training treats differently."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from logocap_jax.methods.base import Method, Part


def parts_in_training(method: Method, stage: str) -> tuple[Part, ...]:
    """The parts of a method as a stage of training treats them.

    Parts that the stage does not train are frozen, norms and all.

    Raises:
      ValueError: if the stage or a part that it names does not exist.
    """
    trains = method.train_stage(stage).trains
    known = [part.name for part in method.parts]
    if unknown := set(trains) - set(known):
        raise ValueError(
            f"stage {stage!r}: got parts {sorted(unknown)}, expected some of {known}"
        )
    return tuple(
        part
        if not trains or part.name in trains
        else part._replace(rate=0.0, frozen_norms=True)
        for part in method.parts
    )


def by_part(
    transform: Callable[[optax.Schedule], optax.GradientTransformation],
    schedule: optax.Schedule,
    parts: Sequence[Part],
    *,
    steps_per_epoch: int,
) -> optax.GradientTransformation:
    """An optimizer with a learning rate per part.

    Args:
      transform: learning rate by step -> optimizer.
      schedule: learning rate of parameters that belong to no part.
      parts: with their rates and warm-ups; none: `transform(schedule)` itself.
      steps_per_epoch: steps in one epoch.
    """
    if not parts:
        return transform(schedule)
    optimizers = {"": transform(schedule)}
    for part in parts:
        rate = _rate(schedule, part, steps_per_epoch)
        optimizers[part.name] = transform(rate) if part.rate else optax.set_to_zero()
    return optax.partition(optimizers, lambda params: _labels(params, parts))


def drop_frozen(gradients: Any, parts: Sequence[Part]) -> Any:
    """Zeros in place of the gradients of frozen parts, so that none are computed."""
    frozen = {part.name for part in parts if not part.rate}
    return jax.tree.map(
        lambda gradient, label: (
            jnp.zeros_like(gradient) if label in frozen else gradient
        ),
        gradients,
        _labels(gradients, parts),
    )


def keep_frozen_statistics(
    new: Mapping[str, Any], old: Mapping[str, Any], parts: Sequence[Part]
) -> Any:
    """New running statistics, but the old ones of parts with frozen norms."""
    frozen = {part.name for part in parts if part.frozen_norms}
    return jax.tree.map(
        lambda after, before, label: before if label in frozen else after,
        new,
        old,
        _labels(new, parts),
    )


def _rate(schedule: optax.Schedule, part: Part, steps_per_epoch: int) -> optax.Schedule:
    rise = round(part.warmup * steps_per_epoch)
    if not rise:
        return lambda step: part.rate * schedule(step)
    warmup = optax.linear_schedule(0, 1, rise)
    return lambda step: part.rate * schedule(step) * warmup(step + 1)


def _labels(tree: Any, parts: Sequence[Part]) -> Any:
    """The name of each leaf's part, empty for none; the first part that holds it."""

    def label(path: tuple[Any, ...], leaf: Any) -> str:
        name = "/".join(key.key for key in path)
        return next(
            (
                part.name
                for part in parts
                for root in part.paths
                if name == root or name.startswith(f"{root}/")
            ),
            "",
        )

    return jax.tree_util.tree_map_with_path(label, tree)
