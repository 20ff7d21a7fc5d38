"""Bilinear sampling and resizing, one value at a time."""

import math

import numpy as np


def _clip(value, low, high):
    return max(low, min(high, value))


def taps(position, size):
    """`[(index, weight), (index, weight)]` along one axis (specification, 5)."""
    lower = _clip(math.floor(position), 0, size - 1)
    upper = _clip(lower + 1, 0, size - 1)
    return [
        (lower, _clip(upper - position, 0, 1)),
        (upper, _clip(position - lower, 0, 1)),
    ]


def sample(maps, point):
    """`maps` [h, w, C] at one `(x, y)` -> [C]."""
    height, width, channels = maps.shape
    result = np.zeros(channels)
    for row, row_weight in taps(float(point[1]), height):
        for column, column_weight in taps(float(point[0]), width):
            result += row_weight * column_weight * maps[row, column]
    return result


def sample_points(maps, points):
    """`maps` [h, w, C] at `points` [..., 2] -> [..., C]."""
    flat = [sample(maps, point) for point in points.reshape(-1, 2)]
    return np.reshape(flat, (*points.shape[:-1], maps.shape[-1]))


def window(heatmap, center, radius):
    """A heatmap on the grid of whole steps around a centre."""
    side = 2 * radius + 1
    result = np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            point = (center[0] + j - radius, center[1] + i - radius)
            result[i, j] = sample(heatmap[..., None], point)[0]
    return result


def resize_half_pixel(array, factor):
    """Bilinear upsampling of [h, w] with half-pixel centres and repeated edges."""
    height, width = array.shape
    result = np.zeros((height * factor, width * factor))
    for row in range(height * factor):
        for column in range(width * factor):
            y = _clip((row + 0.5) / factor - 0.5, 0, height - 1)
            x = _clip((column + 0.5) / factor - 0.5, 0, width - 1)
            y0, x0 = min(int(y), height - 2), min(int(x), width - 2)
            top = (1 - (x - x0)) * array[y0, x0] + (x - x0) * array[y0, x0 + 1]
            below = (1 - (x - x0)) * array[y0 + 1, x0] + (x - x0) * array[
                y0 + 1, x0 + 1
            ]
            result[row, column] = (1 - (y - y0)) * top + (y - y0) * below
    return result
