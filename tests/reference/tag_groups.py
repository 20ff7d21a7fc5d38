"""Grouping by tags, with dicts and lists (specification, 4, steps 2 to 5)."""

import numpy as np

from tests.reference import munkres


def group(
    points: np.ndarray,
    values: np.ndarray,
    tags: np.ndarray,
    *,
    order: tuple[int, ...],
    detection_threshold: float = 0.1,
    tag_threshold: float = 1.0,
    max_people: int = 30,
) -> np.ndarray:
    """People `[P, K, (x, y, value, tags)]` of candidates `[K, N, ...]`."""
    kinds = len(values)
    joints, members = {}, {}

    def found(kind, joint):
        key = joint[3]
        empty = np.zeros((kinds, len(joint)), np.float32)
        joints.setdefault(key, empty)[kind] = joint
        members[key] = [joint[3:]]

    for kind in order:
        all_rows = np.concatenate(
            [points[kind], values[kind][:, None], tags[kind]], axis=-1
        ).astype(np.float32)
        rows = [row for row in all_rows if float(row[2]) > detection_threshold]
        if not rows:
            continue
        keys = list(joints)[:max_people]
        if not keys:
            for row in rows:
                found(kind, row)
            continue
        means = [np.mean(members[key], axis=0) for key in keys]
        difference = np.array(rows)[:, None, 3:].astype(np.float64) - np.array(means)
        distance = np.sqrt((difference**2).sum(axis=-1))
        values64 = np.array(rows)[:, 2:3].astype(np.float64)
        costs = 100 * np.round(distance) - values64
        size = max(costs.shape)
        square = np.zeros((size, size))
        square[: len(rows)] = 1e10
        square[: len(rows), : len(keys)] = costs
        columns = munkres.assign(square)
        for i, row in enumerate(rows):
            column = columns[i]
            if column < len(keys) and distance[i, column] < tag_threshold:
                joints[keys[column]][kind] = row
                members[keys[column]].append(row[3:])
            else:
                found(kind, row)
    if not joints:
        return np.zeros((0, kinds, 3 + tags.shape[-1]), np.float32)
    return np.stack(list(joints.values()))
