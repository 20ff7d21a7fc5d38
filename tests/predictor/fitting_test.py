import json

import numpy as np
import pytest

from data_pipeline.feed.affine import eval_affine, eval_input_size, transform_points
from logocap_jax.predictor.inputs import by_short_side, few_canvases, letterbox

# 509 x 512 is one that the rounding of the input's size cuts by a fraction of a pixel.
USUAL = [(640, 480), (480, 640), (500, 375), (333, 500), (509, 512), (64, 64)]
UNUSUAL = [(480, 640), (4000, 300), (31, 1000), (1, 1), (9000, 1)]


@pytest.mark.parametrize("image_size", USUAL)
@pytest.mark.parametrize("short_side", [64, 256, 512])
@pytest.mark.parametrize("rounding", ["half up", "half even", "none"])
def test_a_fixed_size_changes_nothing_for_images_that_have_it(
    image_size, short_side, rounding
):
    size, expected = by_short_side(short_side, rounding=rounding)(image_size)
    options = {"short_side": short_side, "rounding": rounding}
    assert size == eval_input_size(image_size, **options)
    np.testing.assert_array_equal(expected, eval_affine(image_size, size, rounding))
    found, transform = letterbox(size, rounding)(image_size)
    assert found == size
    np.testing.assert_array_equal(transform, expected)


@pytest.mark.parametrize("image_size", UNUSUAL)
def test_a_fixed_size_holds_the_whole_image(image_size):
    size, transform = letterbox((704, 512))(image_size)
    assert size == (704, 512)
    scale = transform[0, 0]
    np.testing.assert_array_equal(transform[:, :2], scale * np.eye(2))
    # Just inside: one side is filled.
    filled = scale * np.array(image_size) / size
    assert filled.max() == pytest.approx(1)
    middle = np.array([int(side / 2 + 0.5) for side in image_size], np.float64)
    np.testing.assert_allclose(transform_points(middle, transform), [352, 256])


def test_a_short_side_without_meaning_is_refused():
    with pytest.raises(ValueError, match="got short_side=0, expected 1 or more"):
        by_short_side(0)


@pytest.mark.parametrize("short_side", [64, 200, 256, 512])
def test_images_up_to_an_aspect_of_9_to_4_have_four_canvases(short_side):
    fit, canvas = by_short_side(short_side), few_canvases(short_side)
    found = set()
    for long in range(100, 226):
        for image_size in ((long, 100), (100, long)):
            size, _ = fit(image_size)
            room = canvas(size)
            assert min(room) == min(size)
            assert room[0] >= size[0]
            assert room[1] >= size[1]
            assert all(side % 64 == 0 for side in room)
            found.add(room)
    assert len(found) <= 4


def test_photographs_of_a_data_set_share_few_canvases(coco_mini_dir):
    folder = coco_mini_dir / "annotations"
    content = json.loads((folder / "person_keypoints_val2017.json").read_text())
    sizes = [(image["width"], image["height"]) for image in content["images"]]
    fit, canvas = by_short_side(512), few_canvases(512)
    assert len(sizes) == 40
    assert len({fit(size)[0] for size in sizes}) > 8
    assert len({canvas(fit(size)[0]) for size in sizes}) <= 4
