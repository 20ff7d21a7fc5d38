"""Optimizers, learning-rate schedules, and parts with rates of their own."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32

from logocap_jax.methods.base import Method, Part


def parts_in_training(method: Method, stage: str) -> tuple[Part, ...]:
    """The parts of a method as a stage of training treats them.

    Parts that the stage does not train are frozen, norms and all.

    Raises:
      ValueError: if the stage or a part that it names does not exist.
    """
    trains = method.train_stage(stage).trains
    names = [part.name for part in method.parts]
    if unknown := set(trains) - set(names):
        raise ValueError(
            f"stage {stage!r}: got parts {sorted(unknown)}, expected some of {names}"
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

    `transform` makes one from a learning rate by step; `schedule` is the rate of
    parameters outside all parts.
    """
    if not parts:
        return transform(schedule)
    optimizers = {"": transform(schedule)}
    for part in parts:
        optimizers[part.name] = optax.set_to_zero()
        if part.rate:
            scaled = functools.partial(_scaled, schedule, part.rate)
            rate = _warm_up(scaled, part.warmup, steps_per_epoch)
            optimizers[part.name] = transform(rate)
    return optax.partition(optimizers, lambda params: _labels(params, parts))


def drop_frozen(gradients: Any, parts: Sequence[Part]) -> Any:
    """Replace gradients of frozen parts by zeros, so that none are computed."""
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
    """Take new running statistics, but the old ones of parts with frozen norms."""
    frozen = {part.name for part in parts if part.frozen_norms}
    return jax.tree.map(
        lambda after, before, label: before if label in frozen else after,
        new,
        old,
        _labels(new, parts),
    )


def _scaled(schedule: optax.Schedule, factor: float, step: Any) -> Any:
    return factor * schedule(step)


def _warm_up(
    schedule: optax.Schedule, epochs: float, steps_per_epoch: int
) -> optax.Schedule:
    """Let a rate rise linearly from 0 over some epochs."""
    rise = round(epochs * steps_per_epoch)
    if not rise:
        return schedule
    return lambda step: schedule(step) * optax.linear_schedule(0, 1, rise)(step + 1)


def _labels(tree: Any, parts: Sequence[Part]) -> Any:
    """The name of each leaf's part, empty for none; the first part that holds it."""

    def label(path: tuple[Any, ...], leaf: Any) -> str:
        name = "/".join(key.key for key in path)
        for part in parts:
            if any(f"{name}/".startswith(f"{root}/") for root in part.paths):
                return part.name
        return ""

    return jax.tree_util.tree_map_with_path(label, tree)


_SCALINGS: dict[str, Callable[[float], float]] = {
    "none": lambda ratio: 1.0,
    "linear": lambda ratio: ratio,
    "sqrt": math.sqrt,
}


def scale_learning_rate(
    learning_rate: float, scaling: str, *, batch_size: int, base_batch: int
) -> float:
    """Scale a learning rate for `base_batch` images per step to another batch.

    `scaling` is `"none"`; `"linear"` in the batch size (Goyal et al., 2017); or
    `"sqrt"`, by its square root (Hoffer et al., 2017; You et al., 2020).

    Raises:
      ValueError: if the scaling is unknown, or `base_batch` is not positive.
    """
    if scaling not in _SCALINGS:
        raise ValueError(f"got lr_scaling={scaling!r}, expected one of {[*_SCALINGS]}")
    if base_batch < 1:
        raise ValueError(f"got lr_base_batch={base_batch}, expected 1 or more")
    return learning_rate * _SCALINGS[scaling](batch_size / base_batch)


def multi_step_schedule(
    learning_rate: float,
    *,
    milestones: tuple[float, ...],
    decay: float,
    warmup: float,
    steps_per_epoch: int,
    warmup_start: float = 0.0,
) -> optax.Schedule:
    """A rate by step, constant but for a factor `decay` at each milestone.

    Milestones are epochs (fractions allowed). Over the `warmup` epochs the rate rises
    linearly: the first update has the share `warmup_start` of it, the last one all; by
    default it rises as if one update before the first had a rate of 0.

    Raises:
      ValueError: if the share is not in 0..1.
    """
    if not 0 <= warmup_start <= 1:
        raise ValueError(
            f"got lr_warmup_start={warmup_start}, expected a share, 0 to 1"
        )
    boundaries: dict[int, float] = {}
    for epoch in milestones:
        step = round(epoch * steps_per_epoch)
        boundaries[step] = boundaries.get(step, 1.0) * decay
    schedule = optax.piecewise_constant_schedule(learning_rate, boundaries)
    if warmup_start:
        rise = round(warmup * steps_per_epoch)
        # Through float64, so that a rate is rounded once.
        rates = learning_rate * np.linspace(warmup_start, 1, rise)
        for step, factor in boundaries.items():
            rates[step:] *= factor
        return _start_with(rates.astype(np.float32), schedule)
    return _warm_up(schedule, warmup, steps_per_epoch)


def _start_with(
    rates: Float32[np.ndarray, " n"], schedule: optax.Schedule
) -> optax.Schedule:
    """The given rates for the first updates, then those of a schedule."""

    def rate(step: Any) -> Array:
        index = jnp.clip(step, 0, len(rates) - 1)
        return jnp.where(step < len(rates), jnp.asarray(rates)[index], schedule(step))

    return rate if len(rates) else schedule


def make_optimizer(
    schedule: optax.Schedule,
    name: str = "adam",
    *,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    parts: Sequence[Part] = (),
    steps_per_epoch: int = 1,
) -> optax.GradientTransformation:
    """An optimizer, by default the reference's: Adam with PyTorch's settings.

    Weights decay, and LAMB scales steps by the norm of what they change, only for
    kernels: biases and the affine parts of norms take Adam's steps (You et al., 2020).

    Args:
      schedule: updates made so far -> learning rate.
      name: `"adam"`, `"adamw"` (Loshchilov and Hutter, 2019) or `"lamb"` (You et al.,
        2020, for large batches).
      weight_decay: decoupled weight decay of AdamW and LAMB.
      clip_norm: largest global norm of a gradient; longer ones are shortened to it;
        0: any length. The optimizer's state is the same with and without.
      parts: of the model, with rates and warm-ups of their own.
      steps_per_epoch: steps in one epoch, for their warm-ups.

    Raises:
      ValueError: if a setting is unknown, negative, or has no effect.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"got optimizer={name!r}, expected one of {[*_OPTIMIZERS]}")
    for setting, value in (("weight_decay", weight_decay), ("clip_norm", clip_norm)):
        if not 0 <= value < math.inf:
            raise ValueError(f"got {setting}={value}, expected 0 or more")
    if name == "adam" and weight_decay:
        raise ValueError(
            f"got weight_decay={weight_decay}, expected 0 for 'adam'; use 'adamw'"
        )
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity()
    transform = functools.partial(_OPTIMIZERS[name], weight_decay=weight_decay)
    rates = by_part(transform, schedule, parts, steps_per_epoch=steps_per_epoch)
    return optax.chain(clip, rates)


# PyTorch's settings.
_ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}


def _adam(
    schedule: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
    del weight_decay
    return optax.adam(schedule, **_ADAM)


def _adamw(
    schedule: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
    return optax.adamw(schedule, **_ADAM, weight_decay=weight_decay, mask=_is_kernel)


def _lamb(
    schedule: optax.Schedule, weight_decay: float
) -> optax.GradientTransformation:
    """LAMB; unlike `optax.lamb`, small biases and affine parts keep Adam's step."""
    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-6),
        optax.add_decayed_weights(weight_decay, _is_kernel),
        optax.masked(optax.scale_by_trust_ratio(), _is_kernel),
        optax.scale_by_learning_rate(schedule),
    )


_OPTIMIZERS = {"adam": _adam, "adamw": _adamw, "lamb": _lamb}


def _is_kernel(params: Any) -> Any:
    """True for the kernels of convolutions and dense layers."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel", params
    )
