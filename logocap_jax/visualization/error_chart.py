"""Bars side by side: what several result sets get right and wrong."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from logocap_jax.visualization.overlay import write_image

# Distinguishable also in grey and by the color-blind; in the order of the sets.
_COLORS = ("#e8a33d", "#1f6fb4", "#7a7a7a", "#3d8f6f")

# By set, by category: 0..1, None where there is none.
Panel = Mapping[str, Mapping[str, float | None]]


def draw_error_chart(panels: Mapping[str, Panel], out_png: Path) -> None:
    """Draw groups of bars in percent, the last panel as wide as all others together.

    Args:
      panels: by title; two or more. Each has, by name of the result set, a value by
        category; the sets are those of the first panel, in its order.
      out_png: the image; an old one is replaced.

    Raises:
      ValueError: if there is only one panel.
    """
    *upper, last = panels.items()
    if not upper:
        raise ValueError("got 1 panel, expected two or more")
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
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
    canvas.draw()
    rgba = np.asarray(canvas.buffer_rgba())  # [H, W, 4]
    write_image(out_png, np.ascontiguousarray(rgba[..., :3]))


def _draw_panel(axes: Axes, title: str, panel: Panel) -> None:
    categories = list(next(iter(panel.values())))
    width = 0.8 / len(panel)
    for index, (name, values) in enumerate(panel.items()):
        known = [
            place for place, key in enumerate(categories) if _is_known(values, key)
        ]
        heights = [100 * (values[categories[place]] or 0.0) for place in known]
        shift = (index - (len(panel) - 1) / 2) * width
        bars = axes.bar(
            [place + shift for place in known],
            heights,
            width,
            color=_COLORS[index % len(_COLORS)],
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


def _is_known(values: Mapping[str, float | None], key: str) -> bool:
    return values[key] is not None
