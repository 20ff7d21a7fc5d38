"""Steadier keypoints of the people of a film: the one-euro filter.

A low pass whose cutoff grows with speed: who stands still does not jitter, who moves
fast lags little (Casiez, Roussel and Vogel, CHI 2012). Speeds are in sizes of the
person, so that the parameters hold near and far.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from logocap_jax.predictor.poses import Poses


class _State(NamedTuple):
    seconds: float
    keypoints: Float[np.ndarray, "K 2"]  # px, filtered
    speed: Float[np.ndarray, "K 2"]  # px a second, filtered


class Smoother:
    """Filters the keypoints of tracked people, frame by frame of one film."""

    def __init__(
        self, *, min_cutoff: float = 1.5, slope: float = 6.0, speed_cutoff: float = 1.0
    ) -> None:
        """Start without people.

        Args:
          min_cutoff: of who stands still, Hz; lower is steadier.
          slope: Hz more for each size of the person a second; higher lags less.
          speed_cutoff: of the speeds themselves, Hz.

        Raises:
          ValueError: if a number makes no sense.
        """
        if min(min_cutoff, speed_cutoff) <= 0 or slope < 0:
            raise ValueError(
                f"got min_cutoff={min_cutoff}, slope={slope}, "
                f"speed_cutoff={speed_cutoff}, expected more than 0, and a slope of 0 "
                "or more"
            )
        self._min_cutoff, self._slope = min_cutoff, slope
        self._speed_cutoff = speed_cutoff
        self._states: dict[int, _State] = {}

    def update(self, poses: Poses, ids: Int[np.ndarray, " n"], seconds: float) -> Poses:
        """The poses of the next frame, filtered.

        Args:
          poses: of the frame.
          ids: one per pose, as of `Tracker.update`.
          seconds: the frame's time stamp.
        """
        keypoints = poses.keypoints.copy()
        for row, number in enumerate(ids.tolist()):
            state = self._next(self._states.get(number), poses.keypoints[row], seconds)
            self._states[number], keypoints[row] = state, state.keypoints
        return dataclasses.replace(poses, keypoints=keypoints)

    def _next(
        self, last: _State | None, points: Float[np.ndarray, "K 2"], seconds: float
    ) -> _State:
        """The state after a frame; a pause of a second or more begins anew."""
        if last is None or not 0 < seconds - last.seconds < 1:
            return _State(seconds, points, np.zeros_like(points))
        step = seconds - last.seconds
        speed = (points - last.keypoints) / step
        share = _share(np.full((1, 1), self._speed_cutoff), step)
        speed = last.speed + share * (speed - last.speed)
        size = max(1.0, float(np.sqrt(np.prod(np.ptp(points, axis=0)))))
        pace = np.linalg.norm(speed, axis=1, keepdims=True) / size
        share = _share(self._min_cutoff + self._slope * pace, step)
        filtered = last.keypoints + share * (points - last.keypoints)
        return _State(seconds, filtered.astype(np.float32), speed.astype(np.float32))


def _share(cutoff: Float[np.ndarray, "..."], step: float) -> Float[np.ndarray, "..."]:
    """How much of a step to a new value a low pass of first order takes."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))
