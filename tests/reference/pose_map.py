"""Heatmaps in input px, and peaks of a centre map (the specification of DEKR, 4)."""

import numpy as np


def up(maps, size, stride):
    """Cell `i` at pixel `stride * i`; edges are repeated."""
    out = np.zeros((*size, maps.shape[2]))
    for y in range(size[0]):
        for x in range(size[1]):
            py = min(y / stride, maps.shape[0] - 1)
            px = min(x / stride, maps.shape[1] - 1)
            y0, x0 = int(py), int(px)
            y1, x1 = min(y0 + 1, maps.shape[0] - 1), min(x0 + 1, maps.shape[1] - 1)
            fy, fx = py - y0, px - x0
            top = (1 - fx) * maps[y0, x0] + fx * maps[y0, x1]
            bottom = (1 - fx) * maps[y1, x0] + fx * maps[y1, x1]
            out[y, x] = (1 - fy) * top + fy * bottom
    return out


def peaks(center_map, count, threshold):
    height, width = center_map.shape
    mean = (height + width) / 2
    reach = 3 if mean > 300 else 2 if mean > 200 else 1
    found = []
    for y in range(height):
        for x in range(width):
            window = center_map[
                max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1
            ]
            if center_map[y, x] == window.max():
                found.append((-center_map[y, x], y * width + x))
    found = [(-value, index) for value, index in sorted(found)][:count]
    return [(value, index) for value, index in found if value > threshold]
