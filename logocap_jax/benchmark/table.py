"""A benchmark as text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from logocap_jax.benchmark.rows import Row, ratios
from logocap_jax.benchmark.timing import BUSY_SPREAD

_COLUMNS = (
    ("row", 26),
    ("compile", 9),
    ("median", 10),
    ("p90", 10),
    ("spread", 7),
    ("images/s", 11),
    ("memory", 12),
    ("GFLOP", 11),
    ("of peak", 8),
)


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
    """A line per row, under a line per setting; `-` is what was not measured."""
    header = "".join(
        f"{name:{width}}" if name == "row" else f"{name:>{width}}"
        for name, width in _COLUMNS
    )
    setting = None
    for row in rows:
        if row.setting != setting:
            setting = row.setting
            yield from ("", setting, header)
        yield _line(row)


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


def _line(row: Row) -> str:
    timing = row.timing
    cells = [
        _show(row.compile_seconds, lambda x: f"{x:.1f} s"),
        _show(timing and timing.median, format_seconds),
        _show(timing and timing.p90, format_seconds),
        _show(timing and timing.spread, lambda x: f"{x:.0%}"),
        _show(row.images_per_second, lambda x: f"{x:.4g}"),
        _show(row.memory_bytes, lambda x: f"{x / 2**20:.1f} MiB"),
        _show(row.flops, lambda x: f"{x / 1e9:.4g}"),
        _show(row.peak_share, lambda x: f"{x:.1%}"),
    ]
    widths = [width for _, width in _COLUMNS]
    texts = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
    remark = f"  {row.remark}" if row.remark else ""
    return f"{row.name:{widths[0]}}{''.join(texts)}{remark}"


def _show(value: float | int | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)
