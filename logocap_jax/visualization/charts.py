"""Charts: curves of a training run, and bars of several result sets."""

import itertools
import json
import math
import numbers
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from logocap_jax.visualization.overlay import write_image

# Names of the values that are drawn; the group is the label.
_LOSS = re.compile(r"loss/(.+)")
_PRECISION = re.compile(r"eval/(.+)/AP")
_COUNT = re.compile(r"count/(.+)")

_TOTAL = "#222222"
# Distinguishable also in grey and by the color-blind; in the order of the curves.
_CURVES = ("#0077cc", "#e07a00", "#3d8f6f", "#d1495b", "#5b5f97", "#9a9a9a", "#edae49")
# The same for bars, in the order of the sets.
_BARS = ("#e8a33d", "#1f6fb4", "#7a7a7a", "#3d8f6f")

# Per name, value by step.
_Curves = Mapping[str, Mapping[int, float]]

# By set, by category: 0..1; None: unknown.
Panel = Mapping[str, Mapping[str, float | None]]


def draw_curves(metrics_jsonl: Path, out_png: Path) -> None:
    """Draw the losses (log scale) and the AP (percent) of a run over its steps.

    Each line of the metrics is an object: `step`, and values by name, AP in 0..1. All
    names `loss/...`, `eval/.../AP` and, where there are any, `count/...` are drawn.
    Losses and counts are smoothed, the raw values faint behind. Of a step that occurs
    twice, as after a resume, the last value counts. Left out are a last line that a
    kill cut short, NaN, infinities and `null`, and losses that are not above 0.

    Raises:
      ValueError: naming the line that is not an object, lacks its step, or has a
        value that is not a number.
    """
    curves = _read_curves(metrics_jsonl)
    counted = any(map(_COUNT.fullmatch, curves))
    figure = Figure(figsize=(18 if counted else 12, 4.5), dpi=120, layout="constrained")
    loss_axes, precision_axes, *others = figure.subplots(1, 2 + counted, sharex=True)
    _draw_smoothed(loss_axes, curves, _LOSS, log_scale=True)
    loss_axes.set(title="Training losses", ylabel="loss", yscale="log")
    _draw_precisions(precision_axes, curves)
    for axes in others:
        _draw_smoothed(axes, curves, _COUNT)
        axes.set_title("Counts per step")
    for axes in (loss_axes, precision_axes, *others):
        _finish(axes)
    _save(figure, out_png)


def draw_error_chart(panels: Mapping[str, Panel], out_png: Path) -> None:
    """Draw groups of bars in percent, the last panel as wide as all others together.

    Panels are by title; each has, by name of the result set, a value by category. The
    sets are those of the first panel, in its order.

    Raises:
      ValueError: if there is only one panel.
    """
    *upper, last = panels.items()
    if not upper:
        raise ValueError("got 1 panel, expected two or more")
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    grid = figure.add_gridspec(2, len(upper))
    for column, (title, panel) in enumerate(upper):
        _draw_panel(figure.add_subplot(grid[0, column]), title, panel)
    axes = figure.add_subplot(grid[1, :])
    _draw_panel(axes, *last)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(last[1]),
        frameon=False,
        fontsize=13,
    )
    _save(figure, out_png)


def _read_curves(path: Path) -> _Curves:
    curves: dict[str, dict[int, float]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    break  # The last line: the writer was killed within it.
                raise ValueError(
                    f"{path}: line {number}: got damaged JSON ({error}), expected one "
                    "object per line; mend or drop the line"
                ) from error
            step, values = _checked(record, f"{path}: line {number}")
            for key, value in values.items():
                curves.setdefault(key, {})[step] = value
    return curves


def _checked(record: object, source: str) -> tuple[int, dict[str, float]]:
    """Return the step of a line and those of its values that are drawn."""
    step = record.get("step") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not _is_number(step, numbers.Integral):
        raise ValueError(
            f"{source}: got {str(record)[:60]}, expected an object with an integer step"
        )
    rules = (_LOSS, _PRECISION, _COUNT)
    drawn = [key for key in record if any(rule.fullmatch(key) for rule in rules)]
    for key in drawn:
        if record[key] is not None and not _is_number(record[key], numbers.Real):
            raise ValueError(
                f"{source}: got {key} {record[key]!r}, expected a number or null"
            )
    return record["step"], {
        key: math.nan if record[key] is None else float(record[key]) for key in drawn
    }


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _named_points(
    curves: _Curves, rule: re.Pattern[str]
) -> Iterator[tuple[str, str, Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
    """Label, color, ascending steps and finite values of each curve that has any."""
    names = {
        match[1]: name for name in sorted(curves) if (match := rule.fullmatch(name))
    }
    colors = itertools.cycle(_CURVES)
    for label, name in names.items():
        color = _TOTAL if label == "total" else next(colors)
        table = np.asarray(sorted(curves[name].items()), np.float64)  # [n, 2]
        table = table[np.isfinite(table).all(axis=1)]
        if len(table):
            yield label, color, table[:, 0], table[:, 1]


def _draw_smoothed(
    axes: Axes, curves: _Curves, rule: re.Pattern[str], *, log_scale: bool = False
) -> None:
    """Draw curves smooth, as the scale shows them, and faintly as they are."""
    for label, color, steps, values in _named_points(curves, rule):
        if log_scale:
            steps, values = steps[values > 0], values[values > 0]
        if not steps.size:
            continue
        smooth = np.exp(_smoothed(np.log(values))) if log_scale else _smoothed(values)
        axes.plot(steps, values, color=color, alpha=0.18, linewidth=0.8)
        marker = "o" if steps.size == 1 else ""
        axes.plot(steps, smooth, color=color, linewidth=1.8, marker=marker, label=label)


def _draw_precisions(axes: Axes, curves: _Curves) -> None:
    axes.set_title("Average precision")
    for label, color, steps, values in _named_points(curves, _PRECISION):
        axes.plot(
            steps,
            100 * values,
            color=color,
            marker="o",
            markersize=4,
            linewidth=1.8,
            label=f"{label} ({100 * values[-1]:.1f})",
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("AP (%)")


def _finish(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        # Below the axes, where no curve runs.
        axes.legend(
            frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=5
        )
    else:
        axes.text(
            0.5,
            0.5,
            "no values yet",
            transform=axes.transAxes,
            color="gray",
            ha="center",
        )


def _smoothed(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Exponential mean over about 2 % of the values, not pulled to 0 at first."""
    decay = 1 - 1 / max(1.0, 0.02 * values.size)
    mean = weight = 0.0
    smooth = np.empty_like(values)
    for index, value in enumerate(values):
        mean = decay * mean + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        smooth[index] = mean / weight
    return smooth


def _draw_panel(axes: Axes, title: str, panel: Panel) -> None:
    categories = list(next(iter(panel.values())))
    width = 0.8 / len(panel)
    for index, (name, values) in enumerate(panel.items()):
        heights = {
            place: 100 * value
            for place, key in enumerate(categories)
            if (value := values[key]) is not None
        }
        shift = (index - (len(panel) - 1) / 2) * width
        bars = axes.bar(
            [place + shift for place in heights],
            list(heights.values()),
            width,
            color=_BARS[index % len(_BARS)],
            label=name,
        )
        # Numbers, as long as there is room for them.
        if len(categories) * len(panel) <= 12:
            axes.bar_label(bars, fmt="%.1f", fontsize=9, padding=1)
    axes.set_title(title, fontsize=13)
    axes.set_xticks(range(len(categories)), categories, fontsize=11)
    if len(categories) > 6:
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(categories) - 0.4)
    axes.set_ylabel("%", fontsize=11)
    axes.grid(axis="y", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, out_png: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())  # [H, W, 4]
    write_image(out_png, np.ascontiguousarray(rgba[..., :3]))
