"""PCKh on MPII: keypoints within a share of the head's size.

Specification of spatial-aware regression, 8. PCKh@0.1 has two conventions: the HRNet
repository's is at most 0.11 head sizes (entry 11 of its table), mmpose's less
than 0.10.
"""

import numpy as np
from jaxtyping import Bool, Float

HEAD_SHARE = 0.6  # of the head box's diagonal
# Keypoints of MPII, left and right ones together.
GROUPS = {
    "head": (9,),
    "shoulder": (12, 13),
    "elbow": (11, 14),
    "wrist": (10, 15),
    "hip": (2, 3),
    "knee": (1, 4),
    "ankle": (0, 5),
}
_LEFT_OUT = (6, 7)  # of the mean: pelvis, thorax


def pckh(
    keypoints: Float[np.ndarray, "n 16 2"],
    truth: Float[np.ndarray, "n 16 2"],
    labelled: Bool[np.ndarray, "n 16"],
    head_boxes: Float[np.ndarray, "n 2 2"],
    *,
    limit: float,
    inclusive: bool = True,
) -> dict[str, float]:
    """Percentages of correct keypoints, of each group and of all (`mean`).

    A group is the mean of its keypoints' shares; the mean weighs keypoints by how often
    they are labelled, without pelvis and thorax. NaN where none is labelled.

    Args:
      keypoints: found, px.
      truth: annotated, in the same frame.
      labelled: which of them are.
      head_boxes: two corners each, px.
      limit: share of the head's size, such as 0.5.
      inclusive: keypoints at the very limit are correct.
    """
    size = HEAD_SHARE * np.linalg.norm(head_boxes[:, 1] - head_boxes[:, 0], axis=-1)
    distance = np.linalg.norm(keypoints - truth, axis=-1) / size[:, None]
    correct = (distance <= limit if inclusive else distance < limit) & labelled
    counts, hits = labelled.sum(axis=0), correct.sum(axis=0)
    shares = 100 * np.divide(
        hits, counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
    groups = {name: float(shares[[*group]].mean()) for name, group in GROUPS.items()}
    total, number = (np.delete(rows, _LEFT_OUT).sum() for rows in (hits, counts))
    return {**groups, "mean": float(100 * total / number) if number else np.nan}
