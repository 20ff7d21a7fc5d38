"""People and poses at random, to score: as annotations and as results.

Each person is found, a little off; the other poses of an image lie where nobody is.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from logocap_jax.skeletons import COCO


def draw(
    *, images: int, poses: int, people: int, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO annotations and results of images of 640x480.

    Args:
      images: number of them.
      poses: in each, those of the people first.
      people: in each, all keypoints of whom are labelled.
      seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    sides = rng.uniform(40, 200, (images, poses, 1, 1))
    corners = rng.uniform(0, [440, 280], (images, poses, 1, 2))
    kinds = COCO.num_keypoints
    points = corners + sides * rng.uniform(0, 1, (images, poses, kinds, 2))
    # A quarter of the OKS's standard deviation of a wrist, `2 s_k` sides.
    found = points + sides * rng.normal(0, 0.03, points.shape)
    annotations = [
        {
            "id": image * people + person + 1,
            "image_id": image + 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": side**2,
            "bbox": [*corners[image, person, 0].tolist(), side, side],
            "num_keypoints": kinds,
            "keypoints": _triplets(points[image, person], 2),
        }
        for image in range(images)
        for person, side in enumerate(sides[image, :people, 0, 0].tolist())
    ]
    scores = rng.uniform(0, 1, (images, poses))
    results = [
        {
            "image_id": image + 1,
            "category_id": 1,
            "keypoints": _triplets(found[image, pose], 1),
            "score": float(scores[image, pose]),
        }
        for image in range(images)
        for pose in range(poses)
    ]
    truth = {
        "images": [{"id": image + 1} for image in range(images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    return truth, results


def _triplets(points: Float[np.ndarray, "K 2"], third: int) -> list[float]:
    return np.column_stack([points, np.full(len(points), third)]).ravel().tolist()
