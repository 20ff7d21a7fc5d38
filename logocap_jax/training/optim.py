"""Optimizer and learning-rate schedule."""

import optax


def multi_step_schedule(
    learning_rate: float,
    *,
    milestones: tuple[float, ...],
    decay: float,
    warmup: float,
    steps_per_epoch: int,
) -> optax.Schedule:
    """A constant rate, multiplied by `decay` at each milestone.

    Args:
      learning_rate: rate before the first milestone.
      milestones: epochs (fractions allowed) after which the rate falls.
      decay: factor at each milestone.
      warmup: epochs over which the rate rises linearly from 0.
      steps_per_epoch: steps in one epoch.

    Returns:
      Step -> rate.
    """
    boundaries: dict[int, float] = {}
    for epoch in milestones:
        step = round(epoch * steps_per_epoch)
        boundaries[step] = boundaries.get(step, 1.0) * decay
    schedule = optax.piecewise_constant_schedule(learning_rate, boundaries)
    rise = round(warmup * steps_per_epoch)
    if rise == 0:
        return schedule
    return lambda step: schedule(step) * optax.linear_schedule(0, 1, rise)(step + 1)


def make_optimizer(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Adam with PyTorch's defaults, which are the reference's (no weight decay)."""
    return optax.adam(schedule, b1=0.9, b2=0.999, eps=1e-8)
