import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import geometry
from logocap_jax.codecs import heatmap
from tests.reference import targets as reference

HEIGHT, WIDTH = 20, 26
SIGMAS = (2.0, 2.0, 4.0)


@pytest.fixture(scope="module")
def encode():
    return jax.jit(
        functools.partial(heatmap.encode, height=HEIGHT, width=WIDTH, sigmas=SIGMAS)
    )


@pytest.fixture(scope="module")
def encode_per_kind(encode):
    return jax.jit(functools.partial(encode.__wrapped__, per_kind=True))


def _people(seed, count=4):
    """Points on the map, around its edges and far off."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-6, 32, (count, len(SIGMAS), 2)).astype(np.float32)
    return points, rng.uniform(size=(count, len(SIGMAS))) < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_targets_and_weights_are_those_of_the_loop(seed, encode, encode_per_kind):
    points, labelled = _people(seed)
    expected = reference.heatmaps(points, labelled, HEIGHT, WIDTH, SIGMAS, 0.1)
    target, weight = encode(points, labelled)
    np.testing.assert_allclose(target, expected[0], atol=1e-6)
    np.testing.assert_allclose(weight[..., 0], expected[1].max(axis=-1), atol=1e-6)
    _, weight = encode_per_kind(points, labelled)
    np.testing.assert_allclose(weight, expected[1], atol=1e-6)


def test_overlapping_people_leave_the_larger_value(encode):
    points = np.full((4, 3, 2), 10, np.float32)
    points[1, :, 0] = 12
    labelled = np.zeros((4, 3), bool)
    labelled[:2, 0] = True
    target, _ = encode(points, labelled)
    np.testing.assert_allclose(target[10, 10:13, 0], [1, np.exp(-1 / 8), 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("coordinate", "first", "last"),
    [
        (10.0, 3, 17),  # floor(10 - 7) .. ceil(10 + 8), end excluded
        (10.5, 3, 18),
        (0.0, 0, 7),
        (25.75, 18, 25),
    ],
)
def test_box_is_half_open(coordinate, first, last, encode):
    points = np.full((4, 3, 2), 8, np.float32)
    points[0, 0, 0] = coordinate
    labelled = np.zeros((4, 3), bool)
    labelled[0, 0] = True
    target, weight = encode(points, labelled)
    columns = np.flatnonzero(np.asarray(target[8, :, 0]))
    assert (columns[0], columns[-1]) == (first, last)
    assert (columns[-1] - columns[0] + 1) == len(columns)
    np.testing.assert_allclose(
        weight[8, :, 0], np.where(np.isin(np.arange(WIDTH), columns), 1, 0.1)
    )


def test_a_box_of_one_kind_counts_for_the_weight_of_all(encode):
    points = np.full((4, 3, 2), 8, np.float32)
    labelled = np.zeros((4, 3), bool)
    labelled[2, 2] = True
    target, weight = encode(points, labelled)
    assert weight.shape == (HEIGHT, WIDTH, 1)
    np.testing.assert_array_equal(weight[..., 0] == 1, target[..., 2] > 0)


def test_a_box_counts_for_its_own_kind_where_weights_are_per_kind(encode_per_kind):
    points = np.full((4, 3, 2), 8, np.float32)
    labelled = np.zeros((4, 3), bool)
    labelled[2, 2] = True
    target, weight = encode_per_kind(points, labelled)
    np.testing.assert_array_equal(weight == 1, target > 0)
    np.testing.assert_allclose(weight[..., :2], 0.1)


@pytest.mark.parametrize("point", [(-0.01, 5), (5, -0.01), (26, 5), (5, 20)])
def test_point_off_the_map_is_skipped_whole(point, encode):
    points = np.full((4, 3, 2), point, np.float32)
    target, weight = encode(points, np.ones((4, 3), bool))
    np.testing.assert_array_equal(target, 0)
    np.testing.assert_allclose(weight, 0.1)


def test_padded_people_change_nothing(encode):
    points, labelled = _people(0, count=2)
    padding = np.full((2, 3, 2), 7.0, np.float32)
    padded = encode(
        np.concatenate([points, padding]),
        np.concatenate([labelled, np.zeros((2, 3), bool)]),
    )
    alone = heatmap.encode(
        jnp.asarray(points),
        jnp.asarray(labelled),
        height=HEIGHT,
        width=WIDTH,
        sigmas=SIGMAS,
    )
    jax.tree.map(np.testing.assert_array_equal, padded, alone)


def test_no_people_give_an_empty_target():
    target, weight = heatmap.encode(
        jnp.zeros((0, 3, 2)),
        jnp.zeros((0, 3), bool),
        height=4,
        width=5,
        sigmas=SIGMAS,
    )
    np.testing.assert_array_equal(target, np.zeros((4, 5, 3)))
    np.testing.assert_allclose(weight, 0.1)


def test_centers_are_found_where_they_were_encoded():
    # At whole cells four pixels would tie.
    centers = np.array([[3.2, 4.3], [20.3, 5.2], [12.2, 16.3]], np.float32)
    target, _ = heatmap.encode(
        jnp.asarray(centers[:, None]),
        jnp.ones((3, 1), bool),
        height=HEIGHT,
        width=WIDTH,
        sigmas=(4.0,),
    )
    found, values, valid = heatmap.decode_centers(
        geometry.upsample_to_input(target)[..., 0], count=3
    )
    assert np.all(valid)
    # The pixels of a cell are centred 1.5 px beyond the cell's point; of them the
    # highest is the nearest pixel to the cell's centre, so the error is below 2 px.
    distance = np.abs(np.asarray(found)[:, None] - (4 * centers + 1.5)).max(-1)
    assert sorted(distance.argmin(axis=1)) == [0, 1, 2]
    assert distance.min(axis=1).max() < 2
    assert values[0] > 0.9


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.02, 0.01), (True, True, True)),
        ((0.5, 0.009, 0.001), (True, False, False)),
        ((0.009, 0.008, 0.001), (True, False, False)),  # reference behaviour
        ((0.0, 0.0, 0.0), (True, False, False)),
        ((-1.0, -1.0, -2.0), (True, False, False)),
    ],
)
def test_centers_above_the_threshold_are_valid_and_if_none_is_the_first(
    values, expected
):
    center_map = (
        jnp.zeros((8, 9)).at[jnp.asarray([1, 4, 7]), 4].set(jnp.asarray(values))
    )
    _, _, valid = heatmap.decode_centers(center_map, count=3)
    assert tuple(np.asarray(valid)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold": 0.5}, [True, True, False]),
        ({"threshold": 0.5, "passes": operator.gt}, [True, False, False]),
        ({"threshold": 0.9}, [True, False, False]),
        ({"threshold": 0.9, "keep_one": False}, [False, False, False]),
        ({"threshold": 0.1, "window": 5}, [True, False, True]),
    ],
)
def test_threshold_and_window_of_centers_are_the_callers(options, expected):
    center_map = (
        jnp.zeros((8, 12))
        .at[4, jnp.asarray([2, 4, 9])]
        .set(jnp.asarray([0.75, 0.5, 0.25]))
    )
    _, values, valid = heatmap.decode_centers(center_map, count=3, **options)
    found = {float(value) for value in values[valid]}
    kept = {0.75: expected[0], 0.5: expected[1], 0.25: expected[2]}
    assert found == {value for value, is_kept in kept.items() if is_kept}
