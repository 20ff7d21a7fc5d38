import numpy as np
import pytest

from logocap_jax.evaluation.people import merge_people, suppress_people
from logocap_jax.evaluation.results import ImagePoses

SIGMAS = np.array([0.05, 0.1])


def oracle(keypoints, scores, areas, threshold):
    """OKS-NMS as loops."""
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        rest = []
        for other in left:
            values = []
            for k, sigma in enumerate(SIGMAS):
                d2 = sum((keypoints[best][k] - keypoints[other][k]) ** 2)
                area = (areas[best] + areas[other]) / 2
                values.append(np.exp(-d2 / (8 * sigma**2 * area)))
            if np.mean(values) <= threshold:
                rest.append(other)
        left = rest
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 6, (9, 2, 2))
    scores, areas = rng.uniform(0, 1, 9), rng.uniform(100, 400, 9)
    found = suppress_people(keypoints, scores, areas, sigmas=SIGMAS, threshold=0.5)
    assert found.tolist() == oracle(keypoints, scores, areas, 0.5)
    assert 1 < len(found) < 9


def person(image_id, x, score):
    points = np.full((1, 2, 2), x, np.float32)
    row = np.float32([score])
    return ImagePoses(
        image_id, points, np.ones((1, 2), np.float32), row, areas=np.float32([100])
    )


def test_people_of_an_image_come_together_best_first():
    people = [
        person(4, 0, 0.2),
        person(2, 0, 0.3),
        person(4, 90, 0.8),
        person(4, 0, 0.5),
    ]
    merged = merge_people(people, [4, 2, 9], sigmas=SIGMAS, threshold=0.9)
    assert [image.image_id for image in merged] == [2, 4, 9]
    np.testing.assert_allclose(merged[1].scores, [0.8, 0.5])
    np.testing.assert_allclose(merged[1].keypoints[:, 0, 0], [90, 0])
    assert merged[2].keypoints.shape == (0, 2, 2)
