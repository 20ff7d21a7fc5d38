"""The check of final poses on a drawn crowd."""

import jax
import numpy as np
import pytest

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.logocap.poses import check_final, reference_poses
from tests.reference import pose_nms as reference

COUNT = 24
IMAGE_TO_INPUT = np.array([[2.0, 0, 10], [0, 2, 20]])


@pytest.fixture(scope="module")
def crowd():
    """Poses along a line, each on its nearest neighbours, best centre first."""
    rng = np.random.default_rng(4)
    base = rng.uniform(0, 100, (17, 2))
    step = 0.04 * np.linalg.norm(np.ptp(base, axis=0)) / np.sqrt(2)
    places = rng.permutation(COUNT)[:, None, None]
    scores = rng.uniform(0.1, 1, COUNT).astype(np.float32)
    keypoint_scores = np.broadcast_to(scores[:, None, None], (COUNT, 17, 1))
    keypoints = np.concatenate([base + step * places, keypoint_scores], axis=-1)
    return {"poses": keypoints.astype(np.float32), "scores": scores}


def _check(crowd, *, always_absorb):
    """Hold our pose NMS against the plain loop's, by the rule asked for."""
    points = crowd["poses"][..., :2]
    sets = reference.overlap_sets(points.tolist(), [True] * COUNT)
    kept = reference.walk(sets, crowd["scores"], always_absorb=always_absorb)
    final = crowd["poses"][kept].copy()
    final[..., :2] = (final[..., :2] - IMAGE_TO_INPUT[:, 2]) / 2
    arrays = crowd | {"final_keypoints": final, "final_scores": crowd["scores"][kept]}
    compare = Comparison("drawn crowd")
    found = jax.jit(lambda poses: suppress(poses)[0])(reference_poses(arrays, 30))
    check_final(compare, arrays, found, IMAGE_TO_INPUT, fed_with="poses, scores")
    return [result.passed for result in compare.results], len(kept)


def test_a_crowd_keeps_the_poses_of_the_rule_and_not_of_the_old_one(crowd):
    passed, count = _check(crowd, always_absorb=False)
    assert passed == [True, True]
    passed, fewer = _check(crowd, always_absorb=True)
    assert passed == [False, False]
    assert fewer < count
