import contextlib
import io
import math

import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools.coco import COCO as CocoFile
from pycocotools.cocoeval import COCOeval

from logocap_jax.oks import keypoint_similarity
from logocap_jax.skeletons import COCO

SIGMAS = COCO.sigma_array


def _similarity(points, truth, area, sigmas=SIGMAS):
    arrays = (jnp.asarray(x, jnp.float32) for x in (points, truth, area, sigmas))
    return np.asarray(keypoint_similarity(*arrays))


def _oks_by_pycocotools(detected, truth, area):
    annotation = {
        **{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": area},
        "keypoints": np.column_stack([truth, np.full(17, 2.0)]).ravel().tolist(),
        **{"num_keypoints": 17, "bbox": [0, 0, 1, 1]},
    }
    result = {
        **{"image_id": 1, "category_id": 1, "score": 1.0},
        "keypoints": np.column_stack([detected, np.ones(17)]).ravel().tolist(),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        file = CocoFile()
        file.dataset = {
            "images": [{"id": 1}],
            "categories": [{"id": 1, "keypoints": ["nose"]}],
            "annotations": [annotation],
        }
        file.createIndex()
        evaluation = COCOeval(file, file.loadRes([result]), "keypoints")
    evaluation._prepare()
    return evaluation.computeOks(1, 1).item()


@pytest.mark.parametrize("spread", [1.0, 10.0, 60.0])
def test_mean_similarity_is_the_oks_of_pycocotools(spread):
    rng = np.random.default_rng(int(spread))
    truth = rng.uniform(0, 200, (17, 2))
    detected = truth + rng.normal(0, spread, (17, 2))
    expected = _oks_by_pycocotools(detected, truth, area=9000.0)
    assert _similarity(detected, truth, 9000.0).mean() == pytest.approx(
        expected, rel=1e-5
    )


def test_similarity_at_two_sigmas_of_the_persons_scale_is_known():
    # d = 2 s sqrt(area): exp(-1 / 2); the distance is the hypotenuse of 3, 4, 5.
    scale = 5 / (2 * 0.05)
    found = _similarity([[3, 4]], [[0, 0]], scale**2, [0.05])
    assert found[0] == pytest.approx(math.exp(-0.5))


def test_a_person_is_wholly_similar_to_itself():
    truth = np.random.default_rng(0).uniform(0, 500, (17, 2))
    np.testing.assert_array_equal(_similarity(truth, truth, 500.0), np.ones(17))


def test_similarity_is_invariant_under_similarity_transforms():
    rng = np.random.default_rng(0)
    truth, points = rng.uniform(0, 100, (17, 2)), rng.uniform(0, 100, (17, 2))
    angle, scale = 0.7, 2.5
    rotation = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )

    def transform(p):
        return scale * p @ rotation.T + [30, -12]

    before = _similarity(points, truth, 8000.0)
    after = _similarity(transform(points), transform(truth), 8000.0 * scale**2)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-30)


def test_many_poses_are_compared_with_one_person():
    rng = np.random.default_rng(0)
    poses, truth = rng.uniform(0, 50, (3, 2, 17, 2)), rng.uniform(0, 50, (17, 2))
    found = _similarity(poses, truth, 4000.0)
    assert found.shape == (3, 2, 17)
    np.testing.assert_allclose(
        found[2, 1], _similarity(poses[2, 1], truth, 4000.0), rtol=1e-4
    )
