"""Metrics of several result sets side by side, for people and for programs."""

from collections.abc import Mapping
from pathlib import Path

from logocap_jax.evaluation.results import write_json

# The columns that papers report.
COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR")

Rows = Mapping[str, Mapping[str, float | None]]


def format_table(rows: Rows) -> str:
    """Lay out metrics as a plain-text table in percent.

    Args:
      rows: for each result set, in the order to show, its metrics 0..1; more than
        `COLUMNS` may be given. `None` shows as `-`.

    Returns:
      Lines without a newline at the end.

    Raises:
      ValueError: if a metric is missing or outside 0..1.
    """
    names = ["poses", *rows]
    width = max(len(name) for name in names)
    cells = [list(COLUMNS)] + [
        [_percent(value) for value in metrics.values()]
        for metrics in _selected(rows).values()
    ]
    return "\n".join(
        f"{name:<{width}}" + "".join(f"{cell:>7}" for cell in line)
        for name, line in zip(names, cells, strict=True)
    )


def write_metrics(path: Path, rows: Rows) -> None:
    """Write `{result set: {metric: value}}` as JSON, all of it or nothing.

    Args:
      path: the JSON file; an old one is replaced.
      rows: as for `format_table`; `COLUMNS` are written, `None` as `null`.

    Raises:
      ValueError: if a metric is missing or outside 0..1.
    """
    write_json(path, _selected(rows), indent=2)


def _selected(rows: Rows) -> dict[str, dict[str, float | None]]:
    for name, metrics in rows.items():
        for column in COLUMNS:
            if column not in metrics:
                raise ValueError(
                    f"result set {name!r}: lacks {column}, expected the metrics "
                    f"{', '.join(COLUMNS)}"
                )
            value = metrics[column]
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"result set {name!r}: got {column} {value}, expected 0..1 or None"
                )
    return {
        name: {column: metrics[column] for column in COLUMNS}
        for name, metrics in rows.items()
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
