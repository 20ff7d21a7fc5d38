"""Joint limits: which poses of arms, legs and spine are drawn, and how often."""

from typing import NamedTuple, TypeVar

import numpy as np

_T = TypeVar("_T")
Span = tuple[int, int]  # Degrees, drawn uniformly from low to high.


class Limb(NamedTuple):
    """Joint limits of an arm or a leg, in degrees.

    Attributes:
      raising: angle of the upper bone from hanging straight down.
      azimuth: where it is raised to: 0 sideways, 90 forward, -90 backward.
      bend: angle of the lower bone from the direction of the upper one.
      toward: (outward, up, forward) direction that the lower bone bends to.
    """

    raising: Span
    azimuth: Span
    bend: Span
    toward: tuple[float, float, float]


class Stance(NamedTuple):
    """Two legs, either of which may be the left one, and the spine's pitch."""

    legs: tuple[Limb, Limb]
    pitch: Span


def _leg(raising: Span, azimuth: Span, bend: Span) -> Limb:
    # Knees bend backward; for a raised thigh that is down.
    return Limb(raising, azimuth, bend, (0.0, -0.6, -1.0))


# name -> (joint limits, probability)
_ARMS = {
    "hanging": (Limb((4, 28), (-30, 70), (0, 45), (0.0, 0.0, 1.0)), 0.42),
    "sideways": (Limb((45, 105), (-15, 35), (0, 60), (0.0, 0.7, 0.7)), 0.16),
    "forward": (Limb((40, 95), (45, 95), (0, 70), (0.0, 1.0, 0.3)), 0.06),
    "waving": (Limb((70, 125), (-10, 40), (45, 115), (0.0, 1.0, 0.3)), 0.13),
    "up": (Limb((130, 172), (-20, 50), (0, 45), (-0.4, 0.3, 0.5)), 0.11),
    "on hip": (Limb((35, 52), (-25, 10), (75, 105), (-1.0, 0.0, 0.3)), 0.12),
}
_STRAIGHT = _leg((1, 10), (-20, 40), (0, 12))
_APART = _leg((12, 32), (-15, 25), (0, 30))
_STEP_FORWARD = _leg((12, 38), (70, 100), (2, 35))
_STEP_BACK = _leg((8, 28), (-110, -70), (5, 45))
_SEATED = _leg((62, 85), (40, 90), (65, 95))
_LIFTED = _leg((45, 90), (20, 90), (45, 110))
_STANCES = {
    "standing": (Stance((_STRAIGHT, _STRAIGHT), (-6, 10)), 0.36),
    "apart": (Stance((_APART, _APART), (-6, 12)), 0.26),
    "walking": (Stance((_STEP_FORWARD, _STEP_BACK), (0, 15)), 0.22),
    "seated": (Stance((_SEATED, _SEATED), (-8, 12)), 0.05),
    "one leg up": (Stance((_LIFTED, _STRAIGHT), (-10, 15)), 0.06),
    "bending": (Stance((_APART, _STRAIGHT), (20, 50)), 0.05),
}


def random_arm(rng: np.random.Generator) -> Limb:
    """Draw what one arm does."""
    return _pick(rng, _ARMS)


def random_stance(rng: np.random.Generator) -> Stance:
    """Draw what legs and spine do."""
    return _pick(rng, _STANCES)


def _pick(rng: np.random.Generator, table: dict[str, tuple[_T, float]]) -> _T:
    values, weights = zip(*table.values(), strict=True)
    return values[rng.choice(len(values), p=weights)]
