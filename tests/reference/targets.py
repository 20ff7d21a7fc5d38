"""Training targets, one cell at a time (specification, 9)."""

import math

import numpy as np


def _on_map(point, height, width):
    return 0 <= point[0] < width and 0 <= point[1] < height


def heatmaps(points, labelled, height, width, sigmas, background):
    """`points` [P, K1, 2] in cells -> targets, weights per kind, both [h, w, K1].

    The weight of all kinds together is the largest of theirs.
    """
    target = np.zeros((height, width, len(sigmas)))
    weight = np.full((height, width, len(sigmas)), background)
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
                    weight[row, column, k] = 1
    return target, weight


def offsets(keypoints, labelled, centers, has_center, area, height, width, radius):
    """`keypoints` [P, K, 2] in cells -> targets [h, w, K, 2], weights [h, w, K]."""
    num_keypoints = keypoints.shape[1]
    target = np.zeros((height, width, num_keypoints, 2))
    weight = np.zeros((height, width, num_keypoints))
    size = np.zeros((height, width), np.float32)  # one for all keypoints
    for person, (x, y) in enumerate(centers):
        if not has_center[person] or not _on_map((x, y), height, width):
            continue
        rows = range(max(int(y) - radius, 0), min(int(y) + radius, height))
        columns = range(max(int(x) - radius, 0), min(int(x) + radius, width))
        for k, point in enumerate(keypoints[person]):
            if not labelled[person, k] or not _on_map(point, height, width):
                continue
            for row in rows:
                for column in columns:
                    is_written = np.any(target[row, column, k] != 0)
                    if is_written and size[row, column] < area[person]:
                        continue
                    target[row, column, k] = (column - point[0], row - point[1])
                    weight[row, column, k] = 1 / math.sqrt(area[person])
                    size[row, column] = area[person]  # rounded
    return target, weight


def centers(keypoints, labelled, middles):
    """The mean of the labelled keypoints [P, K, 2], else the middle of the box."""
    return np.array(
        [
            points[exists].mean(axis=0) if exists.any() else middle
            for points, exists, middle in zip(keypoints, labelled, middles, strict=True)
        ]
    )
