"""Targets against the reference's arrays, and against a plain loop on drawn crowds."""

import jax
import numpy as np
import pytest

from logocap_jax.methods.dense_loss import dense_targets
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.structures import Batch
from tests.reference import targets as reference

PEOPLE, CELLS = 16, 48
CONFIG = InitialPosesConfig()
SIGMAS = (2.0,) * 17 + (4.0,)


@pytest.fixture(scope="module")
def compute():
    return jax.jit(lambda example: dense_targets(example, CONFIG))


def _example(keypoints, labelled, has_center, area, middles, mirrored):
    """One padded example from points in cells, as the reference has them."""
    shift = [0.75 * mirrored, 0]
    middles = 4 * (middles + shift)
    half = np.random.default_rng(0).uniform(1, 20, middles.shape)
    arrays = {
        "keypoints": 4 * (keypoints + shift),
        "labelled": labelled,
        "area": area,
        "person": labelled.any(axis=1),
        "has_center": has_center,
        "box": np.concatenate([middles - half, middles + half], axis=1),
    }
    padded = {
        name: np.pad(array, ((0, PEOPLE - len(array)), *((0, 0),) * (array.ndim - 1)))
        for name, array in arrays.items()
    }
    padded["area"][len(area) :] = 1
    rounded = padded["area"].astype(np.float32)
    padded["size"] = np.stack([rounded, padded["area"] - rounded], axis=-1)
    for name in ("keypoints", "area", "size", "box"):
        padded[name] = padded[name].astype(np.float32)
    return Batch(
        image=np.zeros((4 * CELLS, 4 * CELLS, 3), np.uint8),
        masks={4: np.ones((CELLS, CELLS), np.uint8)},
        content=np.array([-0.5, -0.5, 4 * CELLS - 0.5, 4 * CELLS - 0.5], np.float32),
        input_to_image=np.eye(2, 3, dtype=np.float32),
        mirrored=np.asarray(mirrored, bool),
        **padded,
    )


@pytest.mark.parametrize("image", [0, 1])
def test_targets_of_overlapping_people_are_the_references(image, compute, shared_dir):
    with np.load(shared_dir / "spec" / "targets.npz") as file:
        arrays = {name: file[name] for name in file.files}
    joints = arrays[f"joints_with_center_{image}"]
    is_labelled = joints[:, :-1, 2] > 0
    assert not is_labelled.any(axis=1).all()
    example = _example(
        keypoints=joints[:, :-1, :2],
        labelled=is_labelled,
        has_center=joints[:, -1, 2] > 0,
        area=arrays[f"joint_areas_{image}"][:, 0],
        middles=joints[:, -1, :2],
        mirrored=arrays[f"hflip_{image}"],
    )
    heat, heat_weight, off, off_weight = map(np.asarray, compute(example))
    expected_weight = arrays["heatmap_weight"][image, 0]
    mask = expected_weight > 0
    off = off.reshape(CELLS, CELLS, -1)
    for found, expected in [
        (heat, arrays["heatmap_target"][image]),
        (heat_weight * mask[..., None], expected_weight[None]),
        (off, arrays["offset_target"][image]),
        (np.repeat(off_weight, 2, axis=-1), arrays["offset_weight"][image]),
    ]:
        np.testing.assert_allclose(found, expected.transpose(1, 2, 0), atol=1e-5)


def _crowd(seed):
    """People on few places; some without keypoints, some of equal area."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, PEOPLE + 1)
    places = rng.uniform(-4, CELLS + 4, (3, 2))[rng.integers(0, 3, count)]
    keypoints = places[:, None] + rng.uniform(-9, 9, (count, 17, 2))
    share = rng.choice([0, 0.2, 0.9], (count, 1))
    return {
        "keypoints": keypoints.astype(np.float32),
        "labelled": rng.uniform(size=(count, 17)) < share,
        "has_center": rng.uniform(size=count) < 0.8,
        "area": rng.choice([150.0, 150.0, 400.0, rng.uniform(9, 999)], count),
        "middles": (places + rng.uniform(-3, 3, places.shape)).astype(np.float32),
    }


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_targets_of_drawn_crowds_are_those_of_the_loop(seed, mirrored, compute):
    crowd = _crowd(seed)
    points, labelled, has_center, area, middles = crowd.values()
    centers = reference.centers(points, labelled, middles)
    heat = reference.heatmaps(
        np.concatenate([points, centers[:, None]], axis=1),
        np.concatenate([labelled, has_center[:, None]], axis=1),
        *(CELLS, CELLS, SIGMAS, 0.1),
    )
    off = reference.offsets(
        *(points, labelled, centers, has_center, area),
        *(CELLS, CELLS, 4),
    )
    found = compute(_example(**crowd, mirrored=mirrored))
    heat = (heat[0], heat[1].max(axis=-1, keepdims=True))
    for array, expected in zip(found, (*heat, *off), strict=True):
        np.testing.assert_allclose(array, expected, atol=2e-5)


def test_drawn_crowds_have_people_without_keypoints_whose_centers_count():
    people = [_crowd(seed) for seed in range(6)]
    alone = [crowd["has_center"] & ~crowd["labelled"].any(axis=1) for crowd in people]
    assert sum(map(np.sum, alone)) > 5


def test_a_person_without_keypoints_has_a_center_and_weight_but_no_offsets(compute):
    example = _example(
        keypoints=np.full((1, 17, 2), 30.0),
        labelled=np.zeros((1, 17), bool),
        has_center=np.ones(1, bool),
        area=np.full(1, 2000.0),
        middles=np.array([[10.0, 20.0]]),
        mirrored=False,
    )
    heat, heat_weight, off, off_weight = map(np.asarray, compute(example))
    np.testing.assert_array_equal(heat[..., :-1], 0)
    assert heat[20, 10, -1] == 1
    assert heat_weight[20, 10] == 1
    assert heat_weight[40, 40] == np.float32(0.1)
    assert not off.any()
    assert not off_weight.any()
