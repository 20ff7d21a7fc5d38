"""The numbers of a pose, against a plain loop and the reference's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference.pose_features import (
    num_pose_features,
    pose_features,
    unit_sticks,
)
from logocap_jax.methods.scorer import predict_oks
from logocap_jax.skeletons import COCO, CROWDPOSE, Skeleton
from logocap_jax.torch_rows import MATRIX
from tests.conftest import SHARED

# A dog: three keypoints, two limbs.
OWN = Skeleton("dog", ("nose", "neck", "tail"), (0.05,) * 3, ((0, 1), (1, 2)))


def describe(points, scores, skeleton, **options):
    return pose_features(jnp.asarray(points), jnp.asarray(scores), skeleton, **options)


def oracle(points, scores, sticks, unit):
    differences, lengths = [], []
    for first, second in sticks:
        difference = points[first] - points[second]
        differences.append(difference)
        lengths.append(np.hypot(*difference))
    length = max(np.mean([lengths[i] for i in unit]), 1)
    flat = [x / length for difference in differences for x in difference]
    return np.array([*flat, *(x / length for x in lengths), *scores])


@pytest.mark.parametrize(
    ("skeleton", "quirks", "unit", "size"),
    [
        (COCO, "reference", (9, 11), 74),
        (COCO, "fixed", (9, 11), 74),
        (CROWDPOSE, "reference", (9, 11), 59),
        (CROWDPOSE, "fixed", (7, 8), 59),
        (OWN, "reference", (0, 1), 9),
    ],
    ids=lambda value: value.name if isinstance(value, Skeleton) else str(value),
)
@pytest.mark.parametrize("scale", [100.0, 0.1], ids=["large", "below a pixel"])
def test_features_are_those_of_a_loop(skeleton, quirks, unit, size, scale):
    rng = np.random.default_rng(0)
    count = skeleton.num_keypoints
    points = rng.uniform(-scale, scale, (count, 2)).astype(np.float32)
    scores = rng.random(count, np.float32)
    found = describe(points, scores, skeleton, quirks=quirks)
    assert found.shape == (size,) == (num_pose_features(skeleton),)
    assert unit_sticks(skeleton, quirks=quirks) == unit
    expected = oracle(points.astype(float), scores, skeleton.sticks, unit)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sticks_of_the_unit_are_what_their_names_say():
    def named(skeleton, number):
        return [skeleton.keypoints[end] for end in skeleton.sticks[number]]

    trunk = [["left_shoulder", "left_hip"], ["right_shoulder", "right_hip"]]
    assert [named(COCO, i) for i in unit_sticks(COCO)] == trunk
    fixed = unit_sticks(CROWDPOSE, quirks="fixed")
    assert [named(CROWDPOSE, i) for i in fixed] == trunk
    leg = [["left_hip", "left_knee"], ["left_knee", "left_ankle"]]
    assert [named(CROWDPOSE, i) for i in unit_sticks(CROWDPOSE)] == leg


def test_a_pose_elsewhere_or_larger_has_the_same_shape():
    points = np.random.default_rng(1).uniform(0, 100, (17, 2)).astype(np.float32)
    scores = np.zeros(17, np.float32)
    moved = describe(3 * points + 40, scores, COCO)
    expected = describe(points, scores, COCO)
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_sticks_leave_the_fingerprint_of_a_run_alone():
    assert "sticks" not in str(COCO.settings())
    assert len({frozenset(stick) for stick in COCO.sticks}) == 19
    assert len({frozenset(stick) for stick in CROWDPOSE.sticks}) == 15


CASES = (
    ("dekr/tiny/infer_000000217285", "final_keypoints", ""),
    ("ranking/tiny/infer_000000217285", "final_keypoints", ""),
    ("ranking/tiny/infer_000000217285", "regression_keypoints", "_regression"),
    ("ranking/tiny_higher/infer_000000151938", "final_keypoints", ""),
)


@pytest.fixture(scope="module")
def folder():
    path = SHARED / "siblings" / "dekr"
    if not path.exists():
        pytest.skip("no arrays of the siblings")
    return path


@pytest.mark.parametrize(("case", "poses", "suffix"), CASES)
def test_features_and_predicted_oks_are_the_references(folder, case, poses, suffix):
    arrays = np.load(folder / f"{case}.npz")
    keypoints = arrays[poses].astype(np.float32)
    scores = keypoints[..., 2]
    features = jax.vmap(lambda x, v: pose_features(x, v, COCO))(
        keypoints[..., :2], scores
    )
    expected = arrays[f"rescore_feature{suffix}"]
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
    method = case.partition("/")[0]
    state = np.load(folder / method / "tiny" / "scorer.npz")
    net = {
        f"l{i}": {
            "kernel": MATRIX.from_torch(state[f"l{i}.weight"]),
            "bias": state[f"l{i}.bias"],
        }
        for i in (1, 2, 3)
    }
    oks = predict_oks({"params": {"scorer": net}}, features)
    expected = arrays[f"predicted_oks{suffix}"]
    np.testing.assert_allclose(oks, expected, atol=1e-5 * np.abs(expected).max())
