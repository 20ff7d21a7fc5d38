"""Training targets, one cell at a time (specification, 9)."""

import math

import numpy as np


def _on_map(point, height, width):
    return 0 <= point[0] < width and 0 <= point[1] < height


def heatmaps(points, labelled, height, width, sigmas, background):
    """`points` [P, K1, 2] in cells -> targets [h, w, K1], weight [h, w]."""
    target = np.zeros((height, width, len(sigmas)))
    weight = np.full((height, width), background)
    for person in range(len(points)):
        for k, sigma in enumerate(sigmas):
            x, y = points[person, k]
            if not labelled[person, k] or not _on_map((x, y), height, width):
                continue
            rows = range(math.floor(y - 3 * sigma - 1), math.ceil(y + 3 * sigma + 2))
            columns = range(math.floor(x - 3 * sigma - 1), math.ceil(x + 3 * sigma + 2))
            for row in rows:
                for column in columns:
                    if not _on_map((column, row), height, width):
                        continue
                    squared = (column - x) ** 2 + (row - y) ** 2
                    value = math.exp(-squared / (2 * sigma**2))
                    target[row, column, k] = max(target[row, column, k], value)
                    weight[row, column] = 1
    return target, weight


def offsets(keypoints, labelled, centers, has_center, area, height, width, radius):
    """`keypoints` [P, K, 2] in cells -> targets [h, w, K, 2], weights [h, w, K]."""
    kinds = keypoints.shape[1]
    target = np.zeros((height, width, kinds, 2))
    weight = np.zeros((height, width, kinds))
    owner_area = np.full((height, width, kinds), np.inf)
    for person in range(len(keypoints)):
        center = centers[person]
        if not has_center[person] or not _on_map(center, height, width):
            continue
        for row in range(int(center[1]) - radius, int(center[1]) + radius):
            for column in range(int(center[0]) - radius, int(center[0]) + radius):
                if not _on_map((column, row), height, width):
                    continue
                for k in range(kinds):
                    point = keypoints[person, k]
                    if not labelled[person, k] or not _on_map(point, height, width):
                        continue
                    if area[person] < owner_area[row, column, k]:
                        owner_area[row, column, k] = area[person]
                        target[row, column, k] = (column - point[0], row - point[1])
                        weight[row, column, k] = 1 / math.sqrt(area[person])
    return target, weight
