import numpy as np
import pytest

from data_pipeline.affine import eval_affine, eval_input_size, transform_points
from logocap_jax.predictor.fitting import by_short_side, letterbox

# 509 x 512 is one that the rounding of the input's size cuts by a fraction of a pixel.
USUAL = [(640, 480), (480, 640), (500, 375), (333, 500), (509, 512), (64, 64)]
UNUSUAL = [(480, 640), (4000, 300), (31, 1000), (1, 1), (9000, 1)]


@pytest.mark.parametrize("image_size", USUAL)
@pytest.mark.parametrize("short_side", [64, 256, 512])
def test_a_fixed_size_changes_nothing_for_images_that_have_it(image_size, short_side):
    size, expected = by_short_side(short_side)(image_size)
    assert size == eval_input_size(image_size, short_side=short_side)
    np.testing.assert_array_equal(expected, eval_affine(image_size, size))
    found, transform = letterbox(size)(image_size)
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
