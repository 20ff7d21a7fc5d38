"""Timing of calls; the rows of a benchmark, and their table."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from logocap_jax.tables import format_table

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


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was measured."""

    name: str  #: of the thing; after a comma the number of people, where it matters
    setting: str  #: batch, size and dtype
    images: int  #: images per call
    compile_seconds: float | None = None  #: from tracing to the executable
    timing: Timing | None = None  #: of one call; None: not run
    #: Operations of one call on one device, by XLA's cost analysis.
    flops: float | None = None
    #: Bytes that one call reads and writes on one device, by the same.
    accessed: float | None = None
    #: `flops` over the device's peak rate and the median time.
    peak_share: float | None = None
    memory_bytes: int | None = None  #: device memory, per device
    memory_source: str | None = None  #: the source of that figure
    remark: str = ""  #: anything else to know

    @property
    def key(self) -> str:
        """Name and setting: no other row has the same."""
        return f"{self.name}: {self.setting}"

    @property
    def images_per_second(self) -> float | None:
        """At the median time."""
        return None if self.timing is None else self.images / self.timing.median

    def to_json(self) -> dict[str, Any]:
        """All fields, and figures that follow from the samples."""
        plain: dict[str, Any] = {"key": self.key} | dataclasses.asdict(self)
        if self.timing is not None:
            plain["timing"] = {
                "median_seconds": self.timing.median,
                "p90_seconds": self.timing.p90,
                "spread": self.timing.spread,
                "calls_per_sample": self.timing.calls_per_sample,
                "seconds": list(self.timing.seconds),
            }
        return plain | {"images_per_second": self.images_per_second}


# Pairs of rows whose ratio of times is printed.
_RATIOS = {
    "after-scene": "predict",
    "finish": "predict",
    "whole-path": "predict",
    "train-loop": "train-step",
}


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Ratios of median times, within a setting and a number of people."""
    times = {
        (row.setting, row.name): row.timing.median
        for row in rows
        if row.timing is not None
    }
    found = {}
    for (setting, name), seconds in times.items():
        kind, comma, people = name.partition(",")
        whole = _RATIOS.get(kind)
        over = times.get((setting, f"{whole}{comma}{people}"))
        if over is not None:
            found[f"{kind} / {whole}{comma}{people}: {setting}"] = seconds / over
    return found


def format_rows(rows: Sequence[Row]) -> str:
    """Lay out rows, one table per setting; a column without any figure is left out."""
    columns = {
        title: show
        for title, show in _COLUMNS.items()
        if any(show(row) is not None for row in rows)
    }
    tables = []
    for setting in dict.fromkeys(row.setting for row in rows):
        lines = [["row", *columns, ""]]
        lines += [
            [row.name, *(show(row) or "-" for show in columns.values()), row.remark]
            for row in rows
            if row.setting == setting
        ]
        align = "<" + ">" * len(columns) + "<"
        tables.append(f"\n{setting}\n{format_table(lines, align=align)}")
    return "\n".join(tables)


def format_ratios(rows: Sequence[Row]) -> str:
    """Lay out the ratios of a setting's rows."""
    lines = [
        [name.partition(":")[0], f"{ratio:.3f}"] for name, ratio in ratios(rows).items()
    ]
    return format_table(lines)


def busy_rows(rows: Sequence[Row]) -> Iterator[str]:
    """A warning if times spread so much that the machine seems to be busy."""
    spreads = {row.key: row.timing.spread for row in rows if row.timing is not None}
    busy = {key: spread for key, spread in spreads.items() if spread > BUSY_SPREAD}
    if busy:
        worst = max(busy, key=lambda key: busy[key])
        yield (
            f"warning: {len(busy)} of {len(spreads)} rows spread by more than "
            f"{BUSY_SPREAD:.0%} of their median ({worst}: {busy[worst]:.0%}): is the "
            "machine busy?"
        )


def format_seconds(seconds: float) -> str:
    """Format a time with about four digits, in s, ms or us."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us"


def _show(value: Callable[[Row], Any], text: Callable[[Any], str]) -> Any:
    """Row -> cell, or None where the row has no such figure."""

    def show(row: Row) -> str | None:
        found = value(row)
        return None if found is None else text(found)

    return show


_COLUMNS: dict[str, Callable[[Row], str | None]] = {
    "compile": _show(lambda row: row.compile_seconds, "{:.1f} s".format),
    "median": _show(lambda row: row.timing and row.timing.median, format_seconds),
    "p90": _show(lambda row: row.timing and row.timing.p90, format_seconds),
    "spread": _show(lambda row: row.timing and row.timing.spread, "{:.0%}".format),
    "images/s": _show(lambda row: row.images_per_second, "{:.4g}".format),
    "memory": _show(lambda row: row.memory_bytes, lambda x: f"{x / 2**20:.1f} MiB"),
    "GFLOP": _show(lambda row: row.flops, lambda x: f"{x / 1e9:.4g}"),
    "of peak": _show(lambda row: row.peak_share, "{:.1%}".format),
    "accessed": _show(lambda row: row.accessed, lambda x: f"{x / 1e9:.4g} GB"),
}
