"""Ground truth of pose slots, similarity by similarity (specification, 10)."""

import math

import numpy as np


def similarity(point, truth, area, sigma):
    """COCO's similarity of one keypoint."""
    squared = (point[0] - truth[0]) ** 2 + (point[1] - truth[1]) ** 2
    return math.exp(-squared / (2 * (2 * sigma) ** 2 * area))


def all_similarities(mesh, keypoints, visible, area, sigmas):
    """`mesh` [N, E, E, K, 2], people [P, K, 2] -> [N, E, E, P, K]."""
    slots, mesh_size, _, num_keypoints, _ = mesh.shape
    result = np.zeros((slots, mesh_size, mesh_size, len(keypoints), num_keypoints))
    for n, i, j, g, k in np.ndindex(result.shape):
        if visible[g, k]:
            result[n, i, j, g, k] = similarity(
                mesh[n, i, j, k], keypoints[g, k], area[g], sigmas[k]
            )
    return result


def assign(mesh, keypoints, visible, area, sigmas, threshold=0.5):
    """Person, target, slot similarity, match and gain of each slot, as a dict."""
    oks = all_similarities(mesh, keypoints, visible, area, sigmas)
    slots, mesh_size, _, num_keypoints, _ = mesh.shape
    center = mesh_size // 2
    result = {
        "person": np.zeros(slots, int),
        "kam": np.zeros((slots, mesh_size, mesh_size, num_keypoints)),
        "slot_oks": np.zeros(slots),
        "matched": np.zeros(slots, bool),
        "gain": np.zeros((slots, num_keypoints)),
    }
    for n in range(slots):
        reached = []
        for g in range(len(keypoints)):
            best = [
                oks[n, :, :, g, k].max() for k in range(num_keypoints) if visible[g, k]
            ]
            reached.append(np.mean(best) if best else 0.0)
        person = int(np.argmax(reached))
        seen = visible[person]
        target = oks[n, :, :, person]
        slot_oks = target[..., seen].mean(axis=-1).max() if seen.any() else 0.0
        result["person"][n] = person
        result["kam"][n] = target
        result["slot_oks"][n] = slot_oks
        result["matched"][n] = slot_oks >= threshold
        if slot_oks >= threshold:
            for k in range(num_keypoints):
                result["gain"][n, k] = target[..., k].max() - target[center, center, k]
    return result
