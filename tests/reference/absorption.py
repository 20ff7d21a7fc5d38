"""Absorption, keypoint by keypoint (specification, 8.3 and 18)."""

import math


def maxima(heatmap):
    """All positive 5 x 5 maxima of a map: `(value, x, y)`, highest first."""
    height, width = heatmap.shape
    found = []
    for y in range(height):
        for x in range(width):
            near = heatmap[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
            if heatmap[y, x] == near.max() > 0:
                found.append((float(heatmap[y, x]), x, y))
    return sorted(found, key=lambda peak: -peak[0])


def absorb(point, heatmap, candidates, *, threshold, quirks="reference"):
    """`(point, heat value)` of one keypoint; candidates are `(value, x, y)`."""
    best = None
    for value, x, y in candidates:
        if value <= threshold:
            if quirks == "fixed":
                continue
            value = 0.0
        distance = math.dist(point, (x, y))
        if best is None or distance < best[0]:
            best = distance, (x, y), value
    if best is not None and best[0] < 75:
        return best[1], best[2]
    height, width = heatmap.shape
    column, row = int(point[0]), int(point[1])
    if quirks == "reference":
        column, row = row, column
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    return tuple(point), float(heatmap[row, column])
