import numpy as np

from logocap_jax.skeletons import COCO
from logocap_jax.visualization.patches import draw_patches
from logocap_jax.visualization.samples import Samples

RED = (250, 0, 0)


def _person(points):
    keypoints = np.full((17, 2), 50.0) + np.arange(17)[:, None]
    return Samples(np.tile(points, (17, 1, 1)), np.array([50.0, 50.0]), keypoints)


def test_samples_are_white_dots_at_their_places():
    image = np.full((100, 100, 3), 60, np.uint8)
    person = _person(np.array([[40.0, 50.0], [60.0, 50.0]]))
    tile = person.draw_tile(image, 0, RED, 120)
    # The picture shows 1.2 x 10 px to each side of the middle: 5 px a pixel.
    assert tile.shape == (120, 120, 3)
    for x in (-10, 10):
        assert tile[60, round(59.5 + 5 * x)].min() > 200
    assert tile[30, 60].max() < 60


def test_the_keypoint_is_a_dot_in_its_color():
    image = np.zeros((100, 100, 3), np.uint8)
    person = _person(np.full((9, 2), 50.0))
    tile = person.draw_tile(image, 10, RED, 120)
    # 10 px right of and below the middle.
    red, green, _ = tile[110, 110]
    assert red > 200
    assert green < 50


def test_a_sheet_has_a_tile_for_each_keypoint():
    image = np.zeros((100, 100, 3), np.uint8)
    person = _person(np.full((9, 2), 1e5))
    sheet = draw_patches(image, person, skeleton=COCO, columns=17, side=64)
    assert sheet.shape[1] == 17 * (64 + 2) + 2
