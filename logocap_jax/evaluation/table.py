"""Metrics of several result sets side by side, for people and for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from logocap_jax import tables
from logocap_jax.evaluation.results import write_json

# The columns that papers report.
COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR")

Rows = Mapping[str, Mapping[str, float | None]]


def format_table(rows: Rows, columns: Sequence[str] = COLUMNS) -> str:
    """Lay out metrics as a plain-text table in percent.

    Args:
      rows: for each result set, in the order to show, its metrics 0..1; more than the
        columns may be given. `None` shows as `-`.
      columns: metrics to show.

    Returns:
      Lines without a newline at the end.

    Raises:
      ValueError: if a metric is missing or outside 0..1.
    """
    _check(rows, columns)
    lines = [["poses", *columns]]
    for name, metrics in rows.items():
        lines.append([name, *(format_percent(metrics[column]) for column in columns)])
    return tables.format_table(lines, min_width=5)


def write_metrics(path: Path, rows: Rows) -> None:
    """Write `{result set: {metric: value}}` as JSON, all of it or nothing.

    Args:
      path: the JSON file; an old one is replaced.
      rows: by result set, all of its metrics, 0..1; `None` is written as `null`.

    Raises:
      ValueError: if a metric is outside 0..1.
    """
    for name, metrics in rows.items():
        _check({name: metrics}, list(metrics))
    write_json(path, rows, indent=2)


def _check(rows: Rows, columns: Sequence[str]) -> None:
    for name, metrics in rows.items():
        for column in columns:
            if column not in metrics:
                raise ValueError(
                    f"result set {name!r}: lacks {column}, expected the metrics "
                    f"{', '.join(columns)}"
                )
            value = metrics[column]
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"result set {name!r}: got {column} {value}, expected 0..1 or None"
                )


def format_percent(value: float | None) -> str:
    """A share 0..1 in percent; `-` for None."""
    return "-" if value is None else f"{100 * value:.1f}"
