import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference import pose_nms
from logocap_jax.structures import Poses
from tests.reference import pose_nms as reference

SLOTS = 8


def suppress(poses):
    return pose_nms.suppress(poses)[0]


@pytest.fixture(scope="module")
def suppress_jitted():
    return jax.jit(suppress)


def _poses(keypoints, scores, valid=None):
    count = len(scores)
    keypoints = jnp.asarray(keypoints, jnp.float32)
    valid = np.ones(count, bool) if valid is None else valid
    # Keypoint scores tell the slots apart after they were put in order.
    names = jnp.tile(jnp.arange(count, dtype=jnp.float32)[:, None], (1, 17))
    return Poses(keypoints, names, jnp.asarray(scores, jnp.float32), jnp.asarray(valid))


def _kept(poses):
    return np.asarray(poses.keypoint_scores[:, 0])[np.asarray(poses.valid)].tolist()


def _crowd(seed):
    """Few distinct poses of different sizes, each seen several times with noise."""
    rng = np.random.default_rng(seed)
    people = rng.uniform(0, 100, (3, 17, 2)) * rng.uniform(0.5, 2, (3, 1, 1))
    noise = rng.normal(0, rng.uniform(1, 6), (SLOTS, 17, 2))
    keypoints = people[rng.integers(0, 3, SLOTS)] + noise
    return keypoints, rng.uniform(size=SLOTS), rng.uniform(size=SLOTS) < 0.8


@pytest.fixture(scope="module")
def base():
    return np.random.default_rng(0).uniform(0, 100, (17, 2))


@pytest.mark.parametrize("first_seed", range(0, 100, 25))
def test_poses_kept_are_those_of_the_loop_in_its_order(first_seed, suppress_jitted):
    for seed in range(first_seed, first_seed + 25):
        keypoints, scores, valid = _crowd(seed)
        expected = reference.kept(keypoints, scores, valid)
        assert _kept(suppress_jitted(_poses(keypoints, scores, valid))) == expected


def test_random_crowds_have_duplicates_to_suppress():
    crowds = [_crowd(seed) for seed in range(100)]
    kept = [len(reference.kept(*crowd)) for crowd in crowds]
    assert 2 <= np.mean([crowd[2].sum() for crowd in crowds]) - np.mean(kept) <= 5


def test_no_valid_slot_stays_none(suppress_jitted):
    keypoints, scores, _ = _crowd(0)
    assert not suppress_jitted(
        _poses(keypoints, scores, np.zeros(SLOTS, bool))
    ).valid.any()


def test_best_of_a_group_takes_the_place_of_its_first(base):
    keypoints = [base, base + 500, base + 1, base - 1]
    poses = suppress(_poses(keypoints, [0.5, 0.6, 0.9, 0.7]))
    assert _kept(poses) == [2, 1]
    np.testing.assert_allclose(poses.keypoints[0], base + 1, rtol=1e-6)
    np.testing.assert_allclose(poses.scores[:2], [0.9, 0.6])


def test_group_whose_best_was_absorbed_before_vanishes(base):
    # a lies on b and b on c, but a not on c; c's best, b, is absorbed by a.
    step = 0.04 * np.linalg.norm(np.ptp(base, axis=0)) / np.sqrt(2)
    keypoints = [base, base + step, base + 2 * step]
    assert _kept(suppress(_poses(keypoints, [0.9, 0.8, 0.1]))) == [0]


def test_a_group_whose_best_was_absorbed_before_absorbs_nothing(base):
    # As before, and d on c alone: c is passed over, so that d is kept.
    step = 0.04 * np.linalg.norm(np.ptp(base, axis=0)) / np.sqrt(2)
    keypoints = [base + i * step for i in range(4)]
    scores = [0.9, 0.8, 0.1, 0.2]
    assert _kept(suppress(_poses(keypoints, scores))) == [0, 3]
    # Or c itself, where it is the best of d's group.
    assert _kept(suppress(_poses(keypoints, [0.9, 0.8, 0.2, 0.1]))) == [0, 2]


def _chain(seed):
    """Poses along a line, each on its nearest neighbours; many equal scores."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0, 100, (17, 2))
    step = 0.04 * np.linalg.norm(np.ptp(base, axis=0)) / np.sqrt(2)
    places = rng.permutation(SLOTS) * rng.uniform(0.6, 1.1)
    scores = rng.integers(1, 5, SLOTS) / 4
    return base + step * places[:, None, None], scores, rng.uniform(size=SLOTS) < 0.9


@pytest.mark.parametrize("first_seed", range(0, 100, 25))
def test_chains_with_equal_scores_are_those_of_the_loop(first_seed, suppress_jitted):
    for seed in range(first_seed, first_seed + 25):
        keypoints, scores, valid = _chain(seed)
        expected = reference.kept(keypoints, scores, valid)
        assert _kept(suppress_jitted(_poses(keypoints, scores, valid))) == expected


def test_chains_tell_the_rule_from_that_of_absorbing_always():
    differ = 0
    for seed in range(100):
        keypoints, scores, valid = _chain(seed)
        sets = reference.overlap_sets(keypoints, valid)
        always = reference.walk(sets, scores, always_absorb=True)
        differ += reference.walk(sets, scores) != always
    assert differ >= 10


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_any_relation_and_score_are_walked_as_by_the_loop(first_seed):
    select = jax.jit(pose_nms.select)
    for seed in range(first_seed, first_seed + 50):
        rng = np.random.default_rng(seed)
        overlap = rng.uniform(size=(SLOTS, SLOTS)) < rng.uniform(0.1, 0.5)
        scores = rng.integers(-3, 4, SLOTS).astype(np.float32)
        order, kept = select(jnp.asarray(overlap), jnp.asarray(scores))
        expected = reference.walk([np.flatnonzero(row) for row in overlap], scores)
        assert np.asarray(order)[np.asarray(kept)].tolist() == expected
        np.testing.assert_array_equal(np.sort(order), np.arange(SLOTS))


@pytest.mark.parametrize(("close", "kept"), [(8, [0, 1]), (9, [0])])
def test_poses_overlap_where_more_than_eight_keypoints_are_close(base, close, kept):
    other = base + 50
    other[:close] = base[:close]
    assert _kept(suppress(_poses([base, other], [0.9, 0.8]))) == kept


def test_closeness_is_measured_by_the_size_of_the_walking_pose(base):
    small = base / 4
    large = small.copy()
    large[16] = 5000.0  # its box is huge, so the small pose lies on it
    shifted = large + np.array([10.0, 0])
    assert _kept(suppress(_poses([shifted, small], [0.9, 0.8]))) == [0]
    assert _kept(suppress(_poses([small, shifted], [0.8, 0.9]))) == [0, 1]


@pytest.mark.parametrize("scale", [1 / 8, 16])
def test_unit_of_the_coordinates_does_not_matter(scale, suppress_jitted):
    for seed in range(10):
        keypoints, scores, valid = _crowd(seed)
        found = suppress_jitted(_poses(keypoints * scale, scores, valid))
        assert _kept(found) == reference.kept(keypoints, scores, valid)


def test_every_array_is_put_in_the_order_that_is_returned():
    keypoints, scores, valid = _crowd(3)
    found, order = pose_nms.suppress(_poses(keypoints, scores, valid))
    index = np.asarray(found.keypoint_scores[:, 0], int)
    np.testing.assert_array_equal(order, index)
    np.testing.assert_array_equal(np.sort(index), np.arange(SLOTS))
    np.testing.assert_allclose(found.keypoints, keypoints[index], rtol=1e-6)
    np.testing.assert_allclose(found.scores, scores[index], rtol=1e-6)


def test_an_invalid_slot_never_becomes_valid(base, suppress_jitted):
    # A pose shrunk to a point has no size, so it does not even lie on itself.
    keypoints = np.stack([base + 100 * i for i in range(SLOTS)])
    keypoints[3] = 7.0
    valid = np.arange(SLOTS) != 0
    found = suppress_jitted(_poses(keypoints, np.ones(SLOTS), valid))
    assert 0 not in _kept(found)


def test_batched_poses_are_suppressed_per_image(suppress_jitted):
    crowds = [_poses(*_crowd(seed)) for seed in (0, 1)]
    batched = jax.vmap(suppress_jitted)(jax.tree.map(lambda *x: jnp.stack(x), *crowds))
    for i, crowd in enumerate(crowds):
        alone = suppress_jitted(crowd)
        jax.tree.map(
            np.testing.assert_array_equal,
            *(jax.tree.map(lambda rows, i=i: rows[i], batched), alone),
        )
