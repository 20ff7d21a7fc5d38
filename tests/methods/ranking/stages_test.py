"""Maps of image and mirror images, brought together (specification, 5 to 7)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO
from tests.reference import pose_map

HEIGHT, WIDTH, KEYPOINTS = 6, 8, COCO.num_keypoints
SWAP = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def _raw(rng, copies, *, stride=1):
    size = (copies, HEIGHT * stride, WIDTH * stride)
    return rng.standard_normal((*size, KEYPOINTS)).astype(np.float32)


def _given(inputs, *, fine):
    """Raw maps as the heads write them, of image and mirror images."""
    rng = np.random.default_rng(0)
    given = {
        "branch_maps": np.stack([_raw(rng, inputs) for _ in range(3)], axis=3),
        "center_maps": _raw(rng, inputs)[..., :1],
        "offsets_raw": np.stack([_raw(rng, inputs) for _ in range(2)], axis=-1),
        "fine_raw": _raw(rng, inputs, stride=2) if fine else None,
        "valid_size": None,
    }
    return given


def _run(config, given):
    wanted = ("heatmaps", "pose_map")
    run = jax.jit(lambda given: run_stages(make_stages(config), {}, given, wanted))
    return [np.asarray(array) for array in run(given).values()]


def _back(maps):
    """A mirror image's heatmaps `[h, w, C]`, mirrored back; a centre stays."""
    return maps[:, ::-1][..., [*SWAP, KEYPOINTS][: maps.shape[-1]]]


def _poses(offsets):
    y, x = np.mgrid[: offsets.shape[0], : offsets.shape[1]]
    return np.stack([x, y], axis=-1)[:, :, None] - offsets


def _mean_poses(offsets):
    image, mirrored = (_poses(offsets[i]) for i in (0, 1))
    mirrored = mirrored[:, ::-1][:, :, SWAP].copy()
    mirrored[..., 0] = WIDTH - 1 - mirrored[..., 0]
    return (image + mirrored) / 2


def _coarse(given, i, combine):
    """Heatmaps of the blocks as one, the centre's last."""
    keypoints = combine(given["branch_maps"][i], axis=2)
    return np.concatenate([keypoints, given["center_maps"][i]], axis=-1)


def test_heatmaps_are_the_mean_of_blocks_and_of_the_mirror_image():
    given = _given(2, fine=False)
    heatmaps, poses = _run(RankingConfig(), given)
    image, mirrored = (_coarse(given, i, np.mean) for i in (0, 1))
    expected = (image + _back(mirrored)) / 2
    np.testing.assert_allclose(heatmaps[0], expected, atol=1e-6)
    np.testing.assert_allclose(poses[0], _mean_poses(given["offsets_raw"]), atol=1e-5)


def _combine(coarse, fine):
    """Heatmaps of both strides at stride 2."""
    upsampled = pose_map.up(coarse, (2 * HEIGHT, 2 * WIDTH), 2)
    keypoints = (upsampled[..., :-1] + fine) / 2
    return np.concatenate([keypoints, upsampled[..., -1:]], axis=-1)


@pytest.mark.parametrize("quirks", ["reference", "fixed"])
def test_fine_heatmaps_come_from_the_image_moved_by_1_px(quirks):
    given = _given(3, fine=True)
    heatmaps, poses = _run(RankingConfig(fine_hidden=4, quirks=quirks), given)
    fine = given["fine_raw"]
    combine = np.max if quirks == "reference" else np.mean
    image, mirrored = (_coarse(given, i, combine) for i in (0, 1))
    if quirks == "reference":  # combined before it is mirrored back
        back = _back(_combine(mirrored, fine[2]))
    else:
        back = _combine(_back(mirrored), _back(fine[2]))
    expected = (_combine(image, fine[0]) + back) / 2
    np.testing.assert_allclose(heatmaps[0], expected, atol=1e-5)
    twice = 2 * _mean_poses(given["offsets_raw"])
    nearest = twice[np.arange(2 * HEIGHT) // 2][:, np.arange(2 * WIDTH) // 2]
    np.testing.assert_allclose(poses[0], nearest, atol=1e-5)


def test_without_flip_test_fine_heatmaps_are_those_of_the_image():
    given = _given(1, fine=True)
    heatmaps, poses = _run(RankingConfig(fine_hidden=4, flip_test=False), given)
    expected = _combine(_coarse(given, 0, np.max), given["fine_raw"][0])
    np.testing.assert_allclose(heatmaps[0], expected, atol=1e-6)
    expected_poses = 2 * _poses(given["offsets_raw"][0])
    np.testing.assert_allclose(poses[0][::2, ::2], expected_poses, atol=1e-5)


@pytest.mark.parametrize("quirks", ["reference", "fixed"])
def test_fine_maps_on_a_canvas_are_those_of_the_image(quirks):
    given = _given(3, fine=True)
    config = RankingConfig(fine_hidden=4, quirks=quirks)
    alone = _run(config, given)
    canvas = {
        name: None
        if maps is None
        else np.pad(
            maps,
            [(0, 0), (0, maps.shape[1]), (0, maps.shape[2] // 2)]
            + [(0, 0)] * (maps.ndim - 3),
            constant_values=9,
        )
        for name, maps in given.items()
    }
    canvas["valid_size"] = jnp.array([[4 * HEIGHT, 4 * WIDTH]])
    for found, expected in zip(_run(config, canvas), alone, strict=True):
        height, width = expected.shape[1:3]
        np.testing.assert_allclose(found[:, :height, :width], expected, atol=1e-5)


@pytest.mark.parametrize("fine_hidden", [0, 4])
def test_mirror_images_are_moved_and_end_in_zeros(fine_hidden):
    config = RankingConfig(fine_hidden=fine_hidden)
    image = np.random.default_rng(1).uniform(1, 2, (1, 4, 16, 3))
    image = jnp.asarray(image, jnp.float32)
    given = {"input": image, "valid_size": None}
    found = run_stages(make_stages(config), {}, given, ("inputs",))["inputs"]
    np.testing.assert_array_equal(found[0], image[0])
    shifts = (3, 1) if fine_hidden else (3,)
    assert len(found) == 1 + len(shifts)
    for mirrored, shift in zip(found[1:], shifts, strict=True):
        kept = image[0, :, ::-1][:, shift:]
        np.testing.assert_array_equal(mirrored[:, :-shift], kept)
        assert not mirrored[:, -shift:].any()
