"""Pose NMS, pose by pose (specification, 8)."""

import math


def overlaps(one, other):
    """Whether `other` lies on `one`: more than 8 of 17 keypoints are close."""
    width = max(x for x, _ in one) - min(x for x, _ in one)
    height = max(y for _, y in one) - min(y for _, y in one)
    limit = 0.05 * math.sqrt(width**2 + height**2)
    close = [math.dist(a, b) < limit for a, b in zip(one, other, strict=True)]
    return sum(close) > 8


def overlap_sets(keypoints, valid):
    """For each pose the list of poses that lie on it; empty for invalid ones."""
    slots = [i for i in range(len(keypoints)) if valid[i]]
    return [
        [j for j in slots if i in slots and overlaps(keypoints[i], keypoints[j])]
        for i in range(len(keypoints))
    ]


def walk(sets, scores, *, always_absorb=False):
    """The indices of the poses kept, in the order of the walk.

    `always_absorb`: absorb a set although its best was absorbed, a rule once in use.
    """
    absorbed, result = set(), []
    for i, rivals in enumerate(sets):
        if i in absorbed or len(rivals) == 0:
            continue
        best = max(rivals, key=lambda j: scores[j])
        if best not in absorbed:
            result.append(best)
        elif not always_absorb:
            continue  # nothing is marked
        absorbed.update(rivals)
    return result


def kept(keypoints, scores, valid):
    """The indices of the poses kept among keypoints `[N, 17, 2]`, in their order."""
    return walk(overlap_sets(keypoints, valid), scores)
