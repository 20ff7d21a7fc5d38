"""Errors of poses: the taxonomy of Ronchi and Perona, and AP by keypoint.

Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation,
ICCV 2017, section 4.1. A keypoint that is not good is one of: jitter, near where it
belongs; inversion, on its mirror image of the same person (the left wrist on the right
one); swap, on the same keypoint or its mirror image of someone else; miss, on none.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

KINDS = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER, INVERSION, SWAP, MISS = range(len(KINDS))

# COCO's: where precision is read off.
_RECALLS = np.linspace(0.0, 1.0, 101)


def keypoint_similarities(
    points: Float[np.ndarray, "K 2"],
    people: Float[np.ndarray, "P K 2"],
    areas: Float[np.ndarray, " P"],
    sigmas: Float[np.ndarray, " K"],
) -> Float[np.ndarray, "P K"]:
    """Similarity of a pose's keypoints to each person's: the OKS of one keypoint.

    Points are in image px, areas (of the people) in image px^2.
    """
    squared_distances = np.square(people - points).sum(axis=-1)  # [P, K]
    variances = np.square(2 * sigmas) * (areas[:, None] + np.spacing(1.0))
    return np.exp(-squared_distances / (2 * variances))


def classify_keypoints(
    points: Float[np.ndarray, "K 2"],
    people: Float[np.ndarray, "P K 2"],
    labelled: Bool[np.ndarray, "P K"],
    areas: Float[np.ndarray, " P"],
    *,
    person: int,
    sigmas: Float[np.ndarray, " K"],
    flip_index: Int[np.ndarray, " K"],
    good_from: float = 0.85,
    near_from: float = 0.5,
) -> Int[np.ndarray, " K"]:
    """Classify each keypoint of a pose (image px) of person number `person`.

    Where it is near several the nearest (by similarity) counts, its own if equal, and
    of a person's other keypoints only the mirror image is looked at: as in the authors'
    program. Least similarities of good keypoints and of near ones are the paper's.

    Returns:
      Indices of `KINDS`; -1 where the person has no such keypoint labelled.
    """
    same = keypoint_similarities(points, people, areas, sigmas)
    same = np.where(labelled, same, -1.0)
    mirror = keypoint_similarities(points, people[:, flip_index], areas, sigmas)
    mirror = np.where(labelled[:, flip_index], mirror, -1.0)
    others = np.delete(np.maximum(same, mirror), person, axis=0)
    elsewhere = others.max(axis=0, initial=-1.0)
    own, inverted = same[person], mirror[person]
    kinds = np.select(
        [
            np.maximum(np.maximum(own, inverted), elsewhere) < near_from,
            (own >= inverted) & (own >= elsewhere),
            inverted >= elsewhere,
        ],
        [MISS, np.where(own >= good_from, GOOD, JITTER), INVERSION],
        SWAP,
    )
    return np.where(labelled[person], kinds, -1)


def average_precision(
    scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, "n T"], num_truth: int
) -> float | None:
    """COCO's average precision (0..1) of ranked answers, mean over thresholds.

    An answer is right or not at each threshold, at most one per truth. Where there is
    nothing to find (`num_truth` 0) the result is None.
    """
    if num_truth == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(right[order], axis=0)  # [n, T]
    precision = true_positives / np.arange(1, len(scores) + 1)[:, None]
    # The best at any recall that is not lower.
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    precision = np.concatenate([precision, np.zeros((1, right.shape[1]))])
    means = [
        precision[np.searchsorted(recall, _RECALLS), column].mean()
        for column, recall in enumerate((true_positives / num_truth).T)
    ]
    return float(np.mean(means))


def precision_by_keypoint(
    similarities: Float[np.ndarray, "n K"],
    scores: Float[np.ndarray, " n"],
    num_labelled: Int[np.ndarray, " K"],
    thresholds: Float[np.ndarray, " T"],
) -> list[float | None]:
    """AP of each keypoint alone, of poses that are matched to people as a whole.

    So a wrist that lies on someone else's does not count as right. The results are
    0..1, or None where nobody has the keypoint labelled. Similarities are those of a
    pose's keypoints to its person's: 0 for an unmatched pose, NaN where its person has
    no such keypoint labelled.
    """
    counts = ~np.isnan(similarities)
    return [
        average_precision(
            scores[counts[:, k]],
            similarities[counts[:, k], k, None] >= thresholds,
            int(number),
        )
        for k, number in enumerate(num_labelled)
    ]
