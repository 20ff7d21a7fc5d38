"""The mirror image, pose maps and settings that two methods share."""

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import pose_map
from logocap_jax.methods.pose_map import PoseMapConfig
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO, CROWDPOSE

FLIP = COCO.flip_index


@pytest.mark.parametrize("repeat_border", [True, False])
def test_the_mirror_image_moves_three_columns(repeat_border):
    image = np.arange(8, dtype=np.float32)[None, None, :, None] + 1
    found = pose_map.moved_mirror(jnp.asarray(image), repeat_border=repeat_border)
    border = [3, 2, 1] if repeat_border else [0, 0, 0]
    assert found[0, 0, :, 0].tolist() == [5, 4, 3, 2, 1, *border]


@pytest.mark.parametrize("repeat_border", [True, False])
def test_each_image_of_a_canvas_is_mirrored_within_itself(repeat_border):
    image = np.arange(12, dtype=np.float32)[None, None, :, None].repeat(2, axis=0)
    found = pose_map.moved_mirror(
        jnp.asarray(image), jnp.array([8, 12]), repeat_border=repeat_border
    )
    for row, width in zip(found, (8, 12), strict=True):
        alone = pose_map.moved_mirror(
            jnp.asarray(image[:1, :, :width]), repeat_border=repeat_border
        )
        np.testing.assert_array_equal(row[:, :width], alone[0])


def test_the_shift_puts_cells_on_cells():
    """Pixel `4 i` of the mirror image is pixel `4 (w - 1 - i)` of the image."""
    image = np.arange(32, dtype=np.float32)[None, None, :, None]
    found = pose_map.moved_mirror(jnp.asarray(image), repeat_border=False)
    np.testing.assert_array_equal(found[0, 0, ::4, 0], 4 * np.arange(8)[::-1])


def test_mirroring_a_pose_map_twice_changes_nothing():
    drawn = np.random.default_rng(0).uniform(0, 20, (2, 5, 6, 17, 2))
    poses = jnp.asarray(drawn, jnp.float32)
    for width in (None, jnp.array([6, 6])):
        once = pose_map.mirror_pose_map(poses, FLIP, width)
        np.testing.assert_allclose(once[..., 0], 5 - poses[:, :, ::-1][..., FLIP, 0])
        twice = pose_map.mirror_pose_map(once, FLIP, width)
        np.testing.assert_allclose(twice, poses, atol=1e-5)


def test_a_pose_map_points_from_the_cell_against_the_offset():
    offsets = np.random.default_rng(0).normal(size=(1, 4, 5, 3, 2)).astype(np.float32)
    found = pose_map.to_pose_map(jnp.asarray(offsets))
    np.testing.assert_allclose(found[0, 3, 1, 2], (1, 3) - offsets[0, 3, 1, 2])


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0])
def test_upsampled_values_are_read_without_upsampling(scale):
    rng = np.random.default_rng(0)
    maps = jnp.asarray(rng.normal(size=(int(8 * scale), int(12 * scale), 4)))
    pixels = jnp.asarray(rng.integers((0, 0), (48, 32), (9, 3, 2)), jnp.float32)
    whole = pose_map.upsample(maps, (32, 48), scale=scale)
    found = pose_map.read_upsampled(maps, pixels, scale=scale)
    x, y = np.asarray(pixels, int).transpose(2, 0, 1)
    np.testing.assert_allclose(found, whole[y, x, np.arange(3)], atol=1e-5)


def test_the_last_pixels_repeat_the_edge():
    maps = jnp.asarray([[[0.0], [4.0]], [[0.0], [4.0]]])
    found = pose_map.upsample(maps, (8, 8))
    np.testing.assert_allclose(found[7, :, 0], [0, 1, 2, 3, 4, 4, 4, 4])


@pytest.mark.parametrize(
    ("skeleton", "quirks", "last"),
    [(COCO, "reference", 4), (CROWDPOSE, "reference", 2), (CROWDPOSE, "fixed", 4)],
)
def test_the_centre_is_as_wide_as_a_keypoint_of_fewer_than_17(skeleton, quirks, last):
    sigmas = PoseMapConfig(skeleton=skeleton, quirks=quirks).sigmas
    assert sigmas == (2.0,) * skeleton.num_keypoints + (last,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_scales": (1.0, 0.75)}, "got test_scales=.*multiples of 0.5"),
        ({"test_scales": (2.0,)}, "1 among them"),
        ({"quirks": "none"}, "got quirks='none', expected one of"),
        ({"center_threshold": -1.0}, "0 or more"),
    ],
)
def test_settings_without_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PoseMapConfig(**settings)


def test_missing_images_of_other_scales_are_told():
    config = PoseMapConfig(test_scales=(0.5, 1.0, 2.0))
    stages = pose_map.scale_stages((), config)
    with pytest.raises(ValueError, match=r"at 0 scales beside 1, .* \(2.0, 0.5\)"):
        run_stages(stages, {}, {"scaled": ()}, ("scaled_input",))
