"""Pose NMS, pose by pose (specification, 8)."""

import math


def _overlaps(one, other):
    """Whether `other` lies on `one`: more than 8 of 17 keypoints are close."""
    width = max(x for x, _ in one) - min(x for x, _ in one)
    height = max(y for _, y in one) - min(y for _, y in one)
    limit = 0.05 * math.sqrt(width**2 + height**2)
    close = [math.dist(a, b) < limit for a, b in zip(one, other, strict=True)]
    return sum(close) > 8


def kept(keypoints, scores, valid):
    """The indices of the poses kept, in the order of the walk."""
    slots = [i for i in range(len(keypoints)) if valid[i]]
    absorbed, result = set(), []
    for i in slots:
        if i in absorbed:
            continue
        rivals = [j for j in slots if _overlaps(keypoints[i], keypoints[j])]
        best = max(rivals, key=lambda j: scores[j])
        if best not in absorbed:
            result.append(best)
        absorbed.update(rivals)
    return result
