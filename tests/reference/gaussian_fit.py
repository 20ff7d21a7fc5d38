"""The Gaussian fit of a heatmap by SciPy (specification, 8.4 and 18)."""

import warnings

import numpy as np
from scipy import optimize


def _model(places, amplitude, row, column, sd):
    square = (places[0] - row) ** 2 + (places[1] - column) ** 2
    return amplitude * np.exp(-square / (2 * sd**2))


def fit(heatmap, x, y, *, clip=False, quirks="reference"):
    """`(amplitude, row, column, sd)`, or None where nothing changes."""
    height, width = heatmap.shape
    row, column = int(y + 0.5), int(x + 0.5)
    if clip:
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    elif any(
        place == 0 or place >= size - 1 or place < (-6 if quirks == "reference" else 0)
        for place, size in ((row, height), (column, width))
    ):
        return None
    top, left = max(row - 6, 0), max(column - 6, 0)
    window = heatmap[top : row + 7, left : column + 7].astype(np.float64)
    if window.size < 4:
        return None
    number = np.arange(window.size)
    rows = window.shape[0] if quirks == "reference" else window.shape[1]
    places = np.stack([top + number // rows, left + number % rows])
    start = (heatmap[row, column], row, column, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found, _ = optimize.curve_fit(
                _model, places, window.ravel(), p0=start, maxfev=300
            )
        except RuntimeError:
            return None
    return found
