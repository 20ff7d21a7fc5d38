import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.codecs import offset
from tests.reference import targets as reference

HEIGHT, WIDTH, NUM_KEYPOINTS, PEOPLE = 16, 22, 3, 4


@pytest.fixture(scope="module")
def encode():
    return jax.jit(functools.partial(offset.encode, height=HEIGHT, width=WIDTH))


def _in_two(area):
    """As `Batch.size` has it."""
    rounded = np.asarray(area, np.float32)
    return np.stack([rounded, area - rounded], axis=-1).astype(np.float32)


def _arrays(people):
    """The arguments of `encode`."""
    return (*list(people.values())[:-1], _in_two(people["area"]))


def _people(seed):
    rng = np.random.default_rng(seed)
    return {
        "keypoints_cell": rng.uniform(-3, 24, (PEOPLE, NUM_KEYPOINTS, 2)).astype(
            np.float32
        ),
        "labelled": rng.uniform(size=(PEOPLE, NUM_KEYPOINTS)) < 0.8,
        "centers_cell": rng.uniform(-2, 20, (PEOPLE, 2)).astype(np.float32),
        "has_center": rng.uniform(size=PEOPLE) < 0.8,
        "area": rng.uniform(50, 5000, PEOPLE),
    }


def _person(center, *, area=100.0, keypoint=(1.0, 2.0)):
    """One person in the first slot, nobody in the others."""
    people = {
        "keypoints_cell": np.zeros((PEOPLE, NUM_KEYPOINTS, 2), np.float32),
        "labelled": np.zeros((PEOPLE, NUM_KEYPOINTS), bool),
        "centers_cell": np.zeros((PEOPLE, 2), np.float32),
        "has_center": np.zeros(PEOPLE, bool),
        "area": np.ones(PEOPLE),
    }
    people["keypoints_cell"][0] = keypoint
    people["labelled"][0] = True
    people["centers_cell"][0] = center
    people["has_center"][0] = True
    people["area"][0] = area
    return people


def _crowd(seed):
    """People on each other, some of equal area, with keypoints on whole cells."""
    rng = np.random.default_rng(seed)
    return _people(seed) | {
        "keypoints_cell": rng.integers(0, 16, (PEOPLE, NUM_KEYPOINTS, 2)).astype(
            np.float32
        ),
        "labelled": rng.uniform(size=(PEOPLE, NUM_KEYPOINTS)) < 0.6,
        "centers_cell": rng.uniform(5, 11, (PEOPLE, 2)).astype(np.float32),
        "area": rng.choice([100.0, 200.1, 200.2, 300.0], PEOPLE),
    }


@pytest.mark.parametrize("draw", [_people, _crowd])
@pytest.mark.parametrize("seed", range(12))
def test_targets_and_weights_are_those_of_the_loop(seed, draw, encode):
    people = draw(seed)
    expected = reference.offsets(*people.values(), HEIGHT, WIDTH, radius=4)
    for found, loop in zip(encode(*_arrays(people)), expected, strict=True):
        np.testing.assert_allclose(found, loop, atol=1e-5)


def test_offset_prefers_smaller_person_on_overlap(encode):
    people = _person((8.0, 8.0), area=400.0, keypoint=(1.0, 1.0))
    people["keypoints_cell"][1] = (5.0, 3.0)
    people["labelled"][1, :2] = True
    people["centers_cell"][1] = (10.0, 8.0)
    people["has_center"][1] = True
    people["area"][1] = 100.0
    target, weight = encode(*_arrays(people))
    np.testing.assert_allclose(target[8, 8, 0], [8 - 5, 8 - 3])
    np.testing.assert_allclose(target[8, 5, 0], [5 - 1, 8 - 1])
    np.testing.assert_allclose(weight[8, [5, 8], 0], [1 / 20, 1 / 10])
    # A keypoint that the smaller person lacks stays with the larger one.
    np.testing.assert_allclose(target[8, 8, 2], [8 - 1, 8 - 1])
    np.testing.assert_allclose(weight[8, 8, 2], 1 / 20)


def test_a_keypoint_that_only_the_larger_person_has_opens_the_cell_for_the_next(encode):
    # The smaller one comes first and lacks keypoint 1: that of the larger one sets the
    # size of the cell, and so does the larger one own keypoint 2, but not keypoint 0.
    people = _person((8.0, 8.0), area=100.0, keypoint=(1.0, 1.0))
    people["labelled"][0, 1] = False
    people["keypoints_cell"][1] = (5.0, 3.0)
    people["labelled"][1] = True
    people["centers_cell"][1] = (8.0, 8.0)
    people["has_center"][1] = True
    people["area"][1] = 400.0
    _, weight = encode(*_arrays(people))
    np.testing.assert_allclose(weight[8, 8], [1 / 10, 1 / 20, 1 / 20])


def test_of_people_of_equal_area_the_last_one_owns_the_cell(encode):
    people = _person((8.0, 8.0), keypoint=(1.0, 1.0))
    for values in people.values():
        values[1] = values[0]
    people["keypoints_cell"][1] = (5.0, 3.0)
    target, _ = encode(*_arrays(people))
    np.testing.assert_allclose(target[8, 8, 0], [8 - 5, 8 - 3])


@pytest.mark.parametrize(
    ("center", "columns", "rows"),
    [
        ((8.0, 7.0), (4, 11), (3, 10)),
        ((8.99, 7.5), (4, 11), (3, 10)),
        ((0.2, 15.9), (0, 3), (11, 15)),
        ((21.5, 0.0), (17, 21), (0, 3)),
    ],
)
def test_region_is_half_open_around_the_truncated_center(center, columns, rows, encode):
    _, weight = encode(*_arrays(_person(center)))
    y, x = np.nonzero(np.asarray(weight[..., 0]))
    assert (x.min(), x.max()) == columns
    assert (y.min(), y.max()) == rows
    assert len(x) == (columns[1] - columns[0] + 1) * (rows[1] - rows[0] + 1)


@pytest.mark.parametrize("center", [(-0.5, 5), (5, -0.5), (22, 5), (5, 16)])
def test_person_with_its_center_off_the_map_owns_no_cell(center, encode):
    target, weight = encode(*_arrays(_person(center)))
    np.testing.assert_array_equal(target, 0)
    np.testing.assert_array_equal(weight, 0)


def test_keypoint_off_the_map_owns_no_cell(encode):
    people = _person((8.0, 8.0))
    people["keypoints_cell"][0, 1] = (-1.0, 3.0)
    _, weight = encode(*_arrays(people))
    np.testing.assert_array_equal(weight[..., 1], 0)
    assert np.asarray(weight[..., 0]).any()


def test_small_people_without_a_center_own_no_cell(encode):
    people = _person((8.0, 8.0))
    people["has_center"][:] = False
    _, weight = encode(*_arrays(people))
    np.testing.assert_array_equal(weight, 0)


def test_decoding_returns_the_encoded_keypoints():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 15, (2, NUM_KEYPOINTS, 2)).astype(np.float32)
    centers = np.array([[4.0, 5.0], [15.0, 9.0]], np.float32)
    target, _ = offset.encode(
        jnp.asarray(keypoints),
        jnp.ones((2, NUM_KEYPOINTS), bool),
        jnp.asarray(centers),
        jnp.ones(2, bool),
        jnp.ones((2, 2)),
        height=HEIGHT,
        width=WIDTH,
    )
    for step in ([0, 0], [-4, -4], [3, 3]):  # any cell of the region knows them
        decoded = offset.decode(target, jnp.asarray(4 * (centers + np.array(step))))
        np.testing.assert_allclose(decoded, 4 * keypoints, atol=1e-4)


def test_decoding_reads_whole_cells_and_keeps_the_fraction_of_the_center():
    offsets = jnp.zeros((4, 4, 1, 2)).at[1, 2, 0].set(jnp.asarray([0.5, -1.0]))
    decoded = offset.decode(offsets, jnp.asarray([[11.0, 7.0], [8.0, 4.0]]))
    # (11, 7) / 4 = (2.75, 1.75) lies in cell (2, 1).
    np.testing.assert_allclose(decoded[:, 0], [[9, 11], [6, 8]])


def test_padded_people_change_nothing(encode):
    people = _people(0)
    people["has_center"][2:] = False
    padded = encode(*_arrays(people))
    alone = offset.encode(
        *(jnp.asarray(array[:2]) for array in _arrays(people)),
        height=HEIGHT,
        width=WIDTH,
    )
    jax.tree.map(np.testing.assert_array_equal, padded, alone)


@pytest.mark.parametrize(
    ("area", "written"),
    [
        (200.1, [True, True, False]),  # float32(200.1) > 200.1
        (200.2, [True, False, False]),  # float32(200.2) < 200.2
        (200.25, [True, True, False]),  # equal
    ],
)
def test_a_person_that_rounding_has_made_smaller_does_not_overwrite_itself(
    area, written, encode
):
    # The larger one comes first and has all keypoints, the smaller one two of them.
    people = _person((8.0, 8.0), area=400.0, keypoint=(1.0, 1.0))
    people["keypoints_cell"][1] = (5.0, 3.0)
    people["labelled"][1, :2] = True
    people["centers_cell"][1] = (8.0, 8.0)
    people["has_center"][1] = True
    people["area"][1] = area
    _, weight = encode(*_arrays(people))
    expected = np.where(written, 1 / np.sqrt(area), 1 / 20)
    np.testing.assert_allclose(weight[8, 8], expected)
