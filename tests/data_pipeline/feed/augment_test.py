import numpy as np
import pytest

from data_pipeline.feed.affine import Augmentation, area_scale


def test_no_augmentation_crops_the_middle_square():
    matrix, mirrored = Augmentation.none().draw(
        np.random.default_rng(0), image_size=(300, 200), input_size=100
    )
    np.testing.assert_allclose(matrix, [[0.5, 0, -25], [0, 0.5, 0]])
    assert not mirrored


def test_draws_fill_their_ranges_and_stay_in_them():
    rng = np.random.default_rng(0)
    augmentation = Augmentation()
    scales, angles, moves, mirrors = [], [], [], []
    for _ in range(2000):
        matrix, mirrored = augmentation.draw(rng, image_size=(600, 400), input_size=512)
        scale = 512 / np.sqrt(area_scale(matrix)) / 400
        middle = np.linalg.solve(matrix[:, :2], 256 - matrix[:, 2])
        scales.append(scale)
        angles.append(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
        moves.append((middle - (300, 200)) / (scale * 2))
        mirrors.append(mirrored)
    assert 0.75 <= min(scales) < 0.76
    assert 1.49 < max(scales) <= 1.5
    assert -30 <= min(angles) < -29.5
    assert 29.5 < max(angles) <= 30
    assert 39 < np.abs(moves).max() <= 40
    assert 0.45 < np.mean(mirrors) < 0.55


def test_translation_is_in_whole_pixels():
    matrix, _ = Augmentation().draw(
        np.random.default_rng(5), image_size=(601, 400), input_size=512
    )
    middle = np.linalg.solve(matrix[:, :2], 256 - matrix[:, 2])
    moved = middle - (300.5, 200)
    np.testing.assert_allclose(moved, np.round(moved), atol=1e-9)


@pytest.mark.parametrize(
    "ranges",
    [
        {"scale_min": 0.0},
        {"scale_min": 2.0},
        {"mirror": 1.5},
        {"rotation_deg": -1.0},
        {"translation": -1.0},
        {"rotation_deg": float("nan")},
        {"scale_max": float("nan")},
    ],
)
def test_ranges_without_meaning_are_refused(ranges):
    with pytest.raises(ValueError, match="augmentation: got"):
        Augmentation(**ranges)
