import numpy as np
import pytest

from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.patches import Patches, draw_patch_rows, draw_patches

_STICK = Skeleton(
    name="stick",
    keypoints=("head", "left_hand", "right_hand"),
    sigmas=(0.05, 0.05, 0.05),
    limbs=((0, 1),),
)


def _person(kam=None, refined=None):
    initial = np.array([[100, 50], [60, 80], [140, 80]], np.float32)
    if kam is None:
        kam = np.zeros((11, 11, 3), np.float32)
    if refined is None:
        refined = initial
    return Patches(kam, initial, np.array([5.0, 10.0, 10.0], np.float32), refined)


def _image(height=160, width=200):
    return np.full((height, width, 3), 120, np.uint8)


def _tile(sheet, index, side=128, gap=4):
    title = 2 * max(7, side // 13)
    x = gap + index * (side + gap)
    return sheet[gap + title : gap + title + side, x : x + side].astype(int)


def test_the_brightest_place_is_that_of_the_largest_attraction():
    kam = np.zeros((11, 11, 3), np.float32)
    kam[2, 9, 1] = 1.0  # row 2, column 9: up and to the right
    sheet = draw_patches(_image(), _person(kam), skeleton=_STICK, columns=3)
    tile = _tile(sheet, 1)
    rows, columns = np.nonzero(tile[..., 0] > 180)
    # The map fills 1 / 1.6 of the tile; its cells are 128 / (1.6 * 11) wide.
    cell = 128 / (1.6 * 11)
    near = np.abs(rows - (63.5 - 3 * cell)) < cell
    near &= np.abs(columns - (63.5 + 4 * cell)) < cell
    assert near.sum() > 0.5 * cell**2
    assert tile[64 - round(3 * cell), 64 + round(4 * cell), 0] > 180


def test_the_refined_keypoint_is_a_dot_in_the_color_of_its_side():
    refined = _person().initial + np.array([[0, 0], [8, 0], [-8, 0]], np.float32)
    sheet = draw_patches(_image(), _person(refined=refined), skeleton=_STICK, columns=3)
    # 10 px of the image are 5 cells, and 8 px are 4.
    shift = round(4 * 128 / (1.6 * 11))
    red, _, blue = _tile(sheet, 1)[64, 64 + shift]
    assert red > 200 > 60 > blue
    red, _, blue = _tile(sheet, 2)[64, 64 - shift]
    assert blue > 200 > 60 > red


def test_a_keypoint_far_outside_is_marked_at_the_border():
    refined = _person().initial + np.array([[0, 0], [500, 0], [0, 0]], np.float32)
    sheet = draw_patches(_image(), _person(refined=refined), skeleton=_STICK, columns=3)
    red, _, blue = _tile(sheet, 1)[64, 123]
    assert red > 200 > 60 > blue


def test_a_sheet_is_of_one_size_whoever_is_on_it():
    shapes = set()
    for count in (0, 1, 2, 5):
        sheet = draw_patch_rows(
            *(_image(), _image(), [_person()] * count),
            labels=[str(number) for number in range(count)],
            skeleton=_STICK,
            rows=2,
        )
        shapes.add(sheet.shape)
    assert len(shapes) == 1


def test_maps_of_other_keypoints_are_refused():
    person = _person(kam=np.zeros((11, 11, 4), np.float32))
    with pytest.raises(ValueError, match="got 4 maps, expected those of"):
        draw_patches(_image(), person, skeleton=_STICK)
