"""Timing of calls, and its statistics."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

# Spread from which a machine counts as busy.
BUSY_SPREAD = 0.2

# A shorter sample would mostly measure the dispatch and the clock.
_LEAST_SAMPLE_SECONDS = 0.01
_MOST_CALLS = 100


class Timing(NamedTuple):
    """Samples of one call's time."""

    seconds: tuple[float, ...]  #: per call, a sample each
    calls_per_sample: int = 1  #: consecutive calls in a sample

    @property
    def median(self) -> float:
        """Median, s."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """90th percentile, s."""
        return self.quantile(0.9)

    @property
    def spread(self) -> float:
        """Distance from the 10th to the 90th percentile, over the median."""
        return (self.p90 - self.quantile(0.1)) / self.median

    def quantile(self, share: float) -> float:
        """A quantile, linear between samples, s."""
        return float(np.quantile(self.seconds, share))


def measure(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 10,
    seconds: float = 5.0,
    queue: frozenset[str] = frozenset(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """Time calls in turn, so that a busy moment of the machine slows them all.

    Every call is made once before, to warm up. The clock is read once all results are
    there (`jax.block_until_ready`), and nothing is subtracted.

    Args:
      calls: by name.
      rounds: least number of samples of each call.
      seconds: time to go on for beyond `rounds`, up to ten times as many samples.
      queue: names of calls of which a sample holds as many, one behind the other, as
        take 10 ms: the time of the device, not of the call from Python.
      progress: called with the rounds done and the least number of them.
    """
    lengths = {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        enough = int(_LEAST_SAMPLE_SECONDS / _sample(call, 1)) + 1
        lengths[name] = min(enough, _MOST_CALLS) if name in queue else 1
    samples: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    done = 0
    while done < rounds or (
        done < 10 * rounds and time.perf_counter() - began < seconds
    ):
        for name, call in calls.items():
            samples[name].append(_sample(call, lengths[name]))
        done += 1
        progress(done, rounds)
    return {name: Timing(tuple(samples[name]), lengths[name]) for name in calls}


def _sample(call: Callable[[], Any], count: int) -> float:
    """Seconds per call."""
    began = time.perf_counter()
    result = None
    for _ in range(count):
        result = call()
    jax.block_until_ready(result)
    return (time.perf_counter() - began) / count
