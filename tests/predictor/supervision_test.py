import numpy as np
import pytest

from logocap_jax.predictor import Poses
from logocap_jax.skeletons import COCO

sv = pytest.importorskip("supervision", reason="supervision is not installed")


def test_poses_become_key_points_that_its_annotators_draw():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(20, 180, (2, 17, 2)).astype(np.float32)
    scores = rng.uniform(0.1, 1, (2, 17)).astype(np.float32)
    poses = Poses(keypoints, scores, scores.mean(axis=1), keypoints, COCO)
    found = poses.to_supervision()
    np.testing.assert_array_equal(found.xy, keypoints)
    np.testing.assert_array_equal(found.keypoint_confidence, scores)
    assert len(found) == 2
    edges = [(start + 1, end + 1) for start, end in COCO.limbs]
    image = np.zeros((200, 200, 3), np.uint8)
    drawn = sv.EdgeAnnotator(edges=edges, thickness=3).annotate(image.copy(), found)
    assert drawn.any()
    dots = sv.VertexAnnotator(radius=3).annotate(image.copy(), found)
    for x, y in np.rint(keypoints[0]).astype(int):
        assert dots[y, x].any()


def test_its_own_suppression_keeps_the_better_of_two_equal_poses():
    keypoints = np.random.default_rng(0).uniform(20, 180, (1, 17, 2))
    keypoints = np.repeat(keypoints, 2, axis=0).astype(np.float32)
    scores = np.repeat(np.array([[0.4], [0.9]], np.float32), 17, axis=1)
    poses = Poses(keypoints, scores, scores[:, 0], None, COCO)
    kept = poses.to_supervision().with_nms()
    np.testing.assert_allclose(kept.detection_confidence, [0.9])


def test_nobody_becomes_no_key_points():
    none = np.zeros((0, 17, 2), np.float32)
    poses = Poses(none, none[..., 0], none[:, 0, 0], none, COCO)
    assert len(poses.to_supervision()) == 0
