"""Local maxima, one position at a time."""

import numpy as np


def peaks(heatmap):
    """All `(value, x, y)` that equal the 3x3 maximum of the map clamped at 0.

    Highest first; among equals the first in reading order.
    """
    clamped = np.maximum(heatmap, 0)
    height, width = clamped.shape
    found = []
    for y in range(height):
        for x in range(width):
            near = clamped[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if heatmap[y, x] > 0 and heatmap[y, x] == near.max():
                found.append((float(heatmap[y, x]), x, y))
    return sorted(found, key=lambda peak: -peak[0])
