"""Losses and average precision over the steps of a training run."""

import json
import math
import numbers
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from logocap_jax.visualization.overlay import write_image

# By key: label and color, in the order of the legend.
_LOSSES = {
    "loss/total": ("total", "#222222"),
    "loss/heatmap": ("heatmap", "#d1495b"),
    "loss/offset": ("offset", "#edae49"),
    "loss/kam": ("KAM", "#00798c"),
    "loss/refined": ("refined", "#5b5f97"),
}
_AVERAGE_PRECISIONS = {
    "eval/bound/AP": ("bound", "#9a9a9a"),
    "eval/logocap/AP": ("logocap", "#0077cc"),
    "eval/initial/AP": ("initial", "#e07a00"),
}

# Per key, value by step.
_Curves = Mapping[str, Mapping[int, float]]


def draw_curves(metrics_jsonl: Path, out_png: Path) -> None:
    """Draw the losses (log scale) and the AP (percent) of a run over its steps.

    Losses are smoothed, the raw values faint behind. Of a step that occurs twice, as
    after a resume, the last value counts. Left out are a last line that a kill cut
    short, NaN, infinities and `null`, and losses that are not above 0.

    Args:
      metrics_jsonl: one object per line: `step`, and any of `loss/total`,
        `loss/heatmap`, `loss/offset`, `loss/kam`, `loss/refined`,
        `eval/<initial, logocap, bound>/AP` (0..1); other keys do not count.
      out_png: the image; an old one is replaced.

    Raises:
      ValueError: naming the line that is not an object, lacks its step, or has a
        value that is not a number.
    """
    curves = _read_curves(metrics_jsonl)
    figure = Figure(figsize=(12, 4.5), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    loss_axes, precision_axes = figure.subplots(1, 2, sharex=True)
    _draw_losses(loss_axes, curves)
    _draw_precisions(precision_axes, curves)
    for axes in (loss_axes, precision_axes):
        _finish(axes)
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())  # [H, W, 4]
    write_image(out_png, np.ascontiguousarray(rgba[..., :3]))


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
    drawn = [key for key in (*_LOSSES, *_AVERAGE_PRECISIONS) if key in record]
    for key in drawn:
        if record[key] is not None and not _is_number(record[key], numbers.Real):
            raise ValueError(
                f"{source}: got {key} {record[key]!r}, expected a number or null"
            )
    return record["step"], {
        key: math.nan if record[key] is None else record[key] for key in drawn
    }


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _points(
    curves: _Curves, key: str
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the steps, ascending, and the finite values at them."""
    values = sorted(curves.get(key, {}).items())
    table = np.asarray(values, np.float64).reshape(-1, 2)  # [n, 2]
    table = table[np.isfinite(table).all(axis=1)]
    return table[:, 0], table[:, 1]


def _draw_losses(axes: Axes, curves: _Curves) -> None:
    axes.set_title("Training losses")
    for key, (label, color) in _LOSSES.items():
        steps, values = _points(curves, key)
        steps, values = steps[values > 0], values[values > 0]
        if not steps.size:
            continue
        axes.plot(steps, values, color=color, alpha=0.18, linewidth=0.8)
        smooth = _smoothed(values)
        marker = "o" if steps.size == 1 else ""
        axes.plot(steps, smooth, color=color, linewidth=1.8, marker=marker, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("loss")


def _draw_precisions(axes: Axes, curves: _Curves) -> None:
    axes.set_title("Average precision")
    for key, (label, color) in _AVERAGE_PRECISIONS.items():
        steps, values = _points(curves, key)
        if not steps.size:
            continue
        label = f"{label} ({100 * values[-1]:.1f})"
        style = "--" if key.startswith("eval/bound") else "-"
        axes.plot(
            *(steps, 100 * values, style),
            color=color,
            linewidth=1.8,
            marker="o",
            markersize=4,
            label=label,
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
            *(0.5, 0.5, "no values yet"),
            transform=axes.transAxes,
            color="gray",
            ha="center",
        )


def _smoothed(
    values: Float[np.ndarray, " n"], *, share: float = 0.02
) -> Float[np.ndarray, " n"]:
    """Smooth values by an exponential mean over about `share` of them.

    The mean is of the logarithms, because it is drawn on a log scale, and divides by
    the weights so far, so that the first values do not pull it to 0.
    """
    decay = 1 - 1 / max(1.0, share * values.size)
    mean = weight = 0.0
    smooth = np.empty_like(values)
    for index, value in enumerate(np.log(values)):
        mean = decay * mean + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        smooth[index] = mean / weight
    return np.exp(smooth)
