"""Assignment and grouping against plain oracles, with ties, crowds, equal keys."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.higherhrnet.grouping import group
from logocap_jax.methods.higherhrnet.munkres import assign
from tests.reference import munkres, tag_groups

SIZE = 8


@pytest.fixture(scope="module")
def assigned():
    """Rows' columns of a square of any size up to `SIZE`."""
    with jax.enable_x64(True):
        run = jax.jit(assign)

    def find(costs):
        size = len(costs)
        # What is not in use is arbitrary.
        square = np.full((SIZE, SIZE), -1e3)
        square[:size, :size] = costs
        with jax.enable_x64(True):
            columns = np.asarray(run(square, np.int32(size)))
        assert (columns[size:] == -1).all()
        return columns[:size].tolist()

    return find


def _drawn_costs(rng):
    """Costs as grouping makes them: few levels, values, columns of nobody."""
    size = int(rng.integers(1, SIZE + 1))
    rows, people = int(rng.integers(1, size + 1)), int(rng.integers(1, size + 1))
    costs = np.zeros((size, size))
    values = rng.choice([0.5, 0.7, 0.7000001, 0.11], (rows, 1)).astype(np.float32)
    levels = 100 * rng.integers(0, rng.integers(1, 5), (rows, people))
    if rows > people:
        costs[:rows] = 1e10
    costs[:rows, :people] = levels - values.astype(np.float64)
    if rows <= people:  # as many columns as people, or rows would be left over
        costs = costs[: max(rows, people), : max(rows, people)]
    return costs


@pytest.mark.parametrize("seed", range(60))
def test_assignments_are_those_of_the_steps_and_cost_least(assigned, seed):
    costs = _drawn_costs(np.random.default_rng(seed))
    found = assigned(costs)
    assert found == munkres.assign(costs)
    if len(costs) > 6:
        return
    rows = np.arange(len(costs))
    least = min(
        costs[rows, list(order)].sum()
        for order in itertools.permutations(range(len(costs)))
    )
    assert costs[rows, found].sum() == pytest.approx(least, rel=1e-15)


def test_of_equal_costs_the_last_zero_after_the_start_is_taken(assigned):
    # Row 0 is starred in column 0. Row 1 then primes the last of its zeros, column 2.
    assert assigned(np.array([[0.0, 1, 1], [0, 0, 0], [0, 1, 1]])) == [0, 1, 2]
    assert assigned(np.zeros((4, 4))) == [0, 1, 2, 3]


def test_rounding_decides_who_gets_nobody(assigned):
    """`1e10 + value` has steps of 2^-19, so that values this close are the same."""
    near = np.array([[-0.5, 1e10], [-0.5000005, 1e10]])
    far = np.array([[-0.5, 1e10], [-0.50001, 1e10]])
    assert assigned(near) == munkres.assign(near) == [0, 1]
    assert assigned(far) == munkres.assign(far)


@functools.partial(jax.jit, static_argnames=("order", "max_people"))
def _group(values, tags, order, max_people):
    return group(
        values,
        tags,
        order=order,
        detection_threshold=0.1,
        tag_threshold=1.0,
        max_people=max_people,
    )


def _people(points, values, tags, *, order, max_people=6):
    found = jax.device_get(
        _group(jnp.asarray(values), jnp.asarray(tags), order, max_people)
    )
    member, kinds = found.member[: found.found], np.arange(len(values))
    rows = np.concatenate([points, values[..., None], tags], axis=-1)
    return rows[kinds, member] * (member >= 0)[..., None]


def _drawn(rng, kinds, count, components):
    """Candidates of people whose tags are often equal, or apart by a half."""
    most = rng.choice([3, 12])
    people = rng.integers(0, most, (kinds, count, 1)) * rng.choice([0.5, 1.0, 2.0])
    noise = rng.choice([0.0, 0.0, 0.25, 0.5], (kinds, count, components))
    tags = (people + noise).astype(np.float32)
    values = rng.choice([0.9, 0.5, 0.5, 0.3, 0.1, 0.05, 0], (kinds, count))
    values = -np.sort(-values.astype(np.float32), axis=1)
    points = rng.integers(0, 200, (kinds, count, 2)).astype(np.float32)
    return points, values, tags


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_people_are_those_of_the_steps(components, seed):
    rng = np.random.default_rng(seed)
    drawn = _drawn(rng, 5, 7, components)
    order = (0, 3, 1, 2, 4)
    expected = tag_groups.group(*drawn, order=order, max_people=6)
    np.testing.assert_array_equal(_people(*drawn, order=order), expected)


def test_the_drawn_cases_hold_crowds_and_equal_keys():
    """The oracle's own cases reach what they are for."""
    counts, overwritten = [], 0
    for seed in range(25):
        drawn = _drawn(np.random.default_rng(seed), 5, 7, 2)
        people = tag_groups.group(*drawn, order=(0, 3, 1, 2, 4), max_people=6)
        counts.append(len(people))
        overwritten += int(
            (drawn[1] > np.float64(0.1)).sum() > (people[..., 2] > 0).sum()
        )
    assert max(counts) > 6
    assert overwritten > 5


def test_without_candidates_there_is_nobody():
    values = np.full((5, 7), 0.05, np.float32)
    found = _group(jnp.asarray(values), jnp.ones((5, 7, 2)), (0, 1, 2, 3, 4), 6)
    assert int(found.found) == 0
    assert (np.asarray(found.member) == -1).all()


def test_the_threshold_is_compared_in_double_precision():
    values = np.array([[0.1, np.nextafter(np.float32(0.1), np.float32(0))]] * 5)
    values = np.pad(values, ((0, 0), (0, 5))).astype(np.float32)
    tags = np.arange(35, dtype=np.float32).reshape(5, 7, 1) * 10
    found = _group(jnp.asarray(values), jnp.asarray(tags), (0, 1, 2, 3, 4), 6)
    assert int(found.found) == 5


def test_people_beyond_the_limit_gain_no_joints():
    """Seven are founded; the candidate near the last of them founds an eighth."""
    values = np.zeros((5, 7), np.float32)
    values[0], values[1, 0] = 0.5, 0.5
    tags = np.zeros((5, 7, 1), np.float32)
    tags[0, :, 0] = 10 * np.arange(7)
    tags[1, 0] = 60.25
    found = _group(jnp.asarray(values), jnp.asarray(tags), (0, 1, 2, 3, 4), 6)
    assert int(found.found) == 8
    assert np.asarray(found.member)[:8, 1].tolist() == [-1] * 7 + [0]


def test_an_equal_key_overwrites_a_joint_and_restarts_the_mean():
    """Two candidates of one key: the second takes the first's slot, in its place."""
    values = np.zeros((5, 7), np.float32)
    tags = np.zeros((5, 7, 1), np.float32)
    values[0, :2] = 0.9, 0.8
    tags[0, :2, 0] = 3.0, 3.0
    values[1, 0], tags[1, 0, 0] = 0.5, 3.5
    found = _group(jnp.asarray(values), jnp.asarray(tags), (0, 1, 2, 3, 4), 6)
    assert int(found.found) == 1
    assert np.asarray(found.member)[0, :2].tolist() == [1, 0]
