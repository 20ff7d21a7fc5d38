import numpy as np
import pytest

from logocap_jax.skeletons import COCO
from logocap_jax.visualization.maps import channel_colors, draw_maps

_STICK = ("head", "left_hand", "right_hand")
# Cell (x, y) lies at pixel (8 x + 3.5, 8 y + 3.5).
_CELL_TO_IMAGE = np.array([[8.0, 0, 3.5], [0, 8.0, 3.5]])


def _draw(heatmaps, image=None, **options):
    if image is None:
        image = np.full((600, 800, 3), 100, np.uint8)
    return draw_maps(image, heatmaps, _CELL_TO_IMAGE, names=_STICK, **options)


def _one_peak(keypoint, cell=(30, 20), value=1.0):
    heatmaps = np.zeros((75, 100, 3), np.float32)
    heatmaps[cell[1], cell[0], keypoint] = value
    return heatmaps


def test_a_peak_shows_in_the_color_of_its_keypoint_and_at_its_place():
    for keypoint, color in enumerate(channel_colors(_STICK)):
        drawn = _draw(_one_peak(keypoint)).astype(int)
        found = drawn[20 * 8 + 3 : 20 * 8 + 5, 30 * 8 + 3 : 30 * 8 + 5].mean(
            axis=(0, 1)
        )
        assert np.abs(found - color).max() < 40
        changed = np.abs(drawn[:600] - drawn[0, 0]).sum(axis=2) > 60
        rows, columns = np.nonzero(changed)
        assert abs(rows.mean() - 163.5) < 1
        assert abs(columns.mean() - 243.5) < 1
        assert np.ptp(rows) < 16


def test_left_is_warm_and_right_is_cool_and_all_keypoints_differ():
    colors = channel_colors(COCO.keypoints)
    assert len({tuple(color) for color in colors.tolist()}) == COCO.num_keypoints
    for name, (red, _, blue) in zip(COCO.keypoints, colors.astype(int), strict=True):
        if name.startswith("left"):
            assert red > blue
        elif name.startswith("right"):
            assert red < 200 <= max(blue, 200)


def test_the_image_is_grey_and_dimmed_where_nothing_fires():
    image = np.zeros((600, 800, 3), np.uint8)
    image[...] = (250, 100, 20)
    drawn = _draw(np.zeros((75, 100, 3), np.float32), image)
    assert (drawn[:600] == drawn[0, 0, 0]).all()
    assert 0 < drawn[0, 0, 0] < 80
    assert (image == (250, 100, 20)).all()


def test_small_images_are_enlarged_and_maps_with_them():
    image = np.full((60, 80, 3), 100, np.uint8)
    heatmaps = np.zeros((8, 10, 3), np.float32)
    heatmaps[4, 5, 1] = 1
    drawn = _draw(heatmaps, image, min_side=800).astype(int)
    assert drawn.shape[1] == 800
    # Pixel 43.5 of 80 is the middle of pixels 435 .. 445 of 800.
    assert np.abs(drawn[355:365, 435:445].mean(axis=(0, 1)) - drawn[0, 0]).max() > 100


def test_maps_of_other_keypoints_are_refused():
    with pytest.raises(ValueError, match="expected finite ones of the 3 channels"):
        _draw(np.zeros((75, 100, 2), np.float32))
    with pytest.raises(ValueError, match="expected finite ones"):
        _draw(np.full((75, 100, 3), np.nan, np.float32))


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (3000, 4000), (1, 400)])
def test_a_picture_is_as_wide_as_its_image_whatever_its_size(shape):
    image = np.zeros((*shape, 3), np.uint8)
    heatmaps = np.zeros((10, 10, 17), np.float32)
    drawn = draw_maps(image, heatmaps, _CELL_TO_IMAGE, names=COCO.keypoints)
    scale = max(1, 512 / max(shape))
    assert drawn.shape[1] == round(scale * shape[1])
    assert drawn.shape[0] > scale * shape[0]
    legend = drawn[round(scale * shape[0]) :]
    assert (legend.max(axis=(1, 2)) > 200).any()
