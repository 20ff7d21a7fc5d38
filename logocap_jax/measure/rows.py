"""The rows of a benchmark, and their table."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from logocap_jax.measure.timing import BUSY_SPREAD, Timing
from logocap_jax.tables import format_table


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
