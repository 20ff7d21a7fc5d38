"""A benchmark as text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from logocap_jax.measure.rows import Row, ratios
from logocap_jax.measure.timing import BUSY_SPREAD

_NAME_WIDTH = 26


def format_headline(about: dict[str, Any]) -> str:
    """One line on where and when."""
    machine, versions = about["machine"], about["versions"]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("jax", "jaxlib"))
    cache = f"; compiled programs come from {machine['cache']}"
    return (
        f"{machine['devices']} x {machine['device_kind']}, {machine['cpu_cores']} CPU "
        f"cores, {shown}, {about['date']}{cache if machine['cache'] else ''}"
    )


def format_ratios(rows: Sequence[Row]) -> Iterator[str]:
    """A line per ratio of two rows."""
    for name, ratio in ratios(rows).items():
        yield f"{name.partition(':')[0]:60} {ratio:.3f}"


def format_rows(rows: Sequence[Row]) -> Iterator[str]:
    """A line per row, under a line per setting.

    `-` is what is not known of a row; a column of which no row knows is left out.
    """
    columns = [
        column
        for column in _COLUMNS
        if any(column.value(row) is not None for row in rows)
    ]
    header = "".join(f"{column.name:>{column.width}}" for column in columns)
    setting = None
    for row in rows:
        if row.setting != setting:
            setting = row.setting
            yield from ("", setting, f"{'row':{_NAME_WIDTH}}{header}")
        cells = "".join(f"{column.show(row):>{column.width}}" for column in columns)
        remark = f"  {row.remark}" if row.remark else ""
        yield f"{row.name:{_NAME_WIDTH}}{cells}{remark}"


def busy_rows(rows: Sequence[Row]) -> Iterator[str]:
    """A warning if times spread so much that the machine did other things, too."""
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
    """With three digits or so, in s, ms or us."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us"


class _Column(NamedTuple):
    """A column: its name and width, what of a row it is about, and how it shows it."""

    name: str
    width: int
    value: Callable[[Row], Any]
    text: Callable[[Any], str]

    def show(self, row: Row) -> str:
        value = self.value(row)
        return "-" if value is None else self.text(value)


_COLUMNS = (
    _Column("compile", 9, lambda row: row.compile_seconds, "{:.1f} s".format),
    _Column("median", 10, lambda row: row.timing and row.timing.median, format_seconds),
    _Column("p90", 10, lambda row: row.timing and row.timing.p90, format_seconds),
    _Column("spread", 7, lambda row: row.timing and row.timing.spread, "{:.0%}".format),
    _Column("images/s", 11, lambda row: row.images_per_second, "{:.4g}".format),
    _Column(
        *("memory", 12, lambda row: row.memory_bytes),
        lambda size: f"{size / 2**20:.1f} MiB",
    ),
    _Column("GFLOP", 11, lambda row: row.flops, lambda flops: f"{flops / 1e9:.4g}"),
    _Column("of peak", 8, lambda row: row.peak_share, "{:.1%}".format),
    _Column(
        *("traffic", 12, lambda row: row.traffic), lambda size: f"{size / 1e9:.4g} GB"
    ),
    _Column("launches", 9, lambda row: row.launches, str),
)
