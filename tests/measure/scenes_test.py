import cv2
import jax
import numpy as np
import pytest

from logocap_jax.measure.scenes import draw_maps, draw_truth, write_photographs
from logocap_jax.methods.initial_poses import InitialPosesConfig, decode_initial


@pytest.mark.parametrize(
    ("people", "height", "width"),
    [(1, 16, 16), (4, 16, 16), (30, 128, 128), (30, 128, 192), (7, 64, 16)],
)
def test_as_many_people_are_found_as_were_drawn(people, height, width):
    maps = draw_maps(people, height=height, width=width, num_keypoints=17, embedding=2)
    found = jax.jit(decode_initial, static_argnums=2)(
        maps.heatmaps[..., -1], maps.offsets, InitialPosesConfig(center_threshold=1e-6)
    )
    assert int(found.valid.sum()) == people
    assert float(found.center_values[:people].min()) > 0.5
    # The keypoints lie where the heatmaps have their peaks.
    cells = np.rint(np.asarray(found.keypoints[:people]) / 4).astype(int)
    near = maps.heatmaps[cells[..., 1], cells[..., 0], np.arange(17)]
    assert near.min() > 0.5


def test_too_many_people_for_the_image_are_refused():
    with pytest.raises(ValueError, match=r"got 5 people, .* 32 px for each on"):
        draw_maps(5, height=16, width=16, num_keypoints=17, embedding=2)


def test_a_training_example_has_the_people_asked_for():
    example = draw_truth(2, size=(64, 96), max_people=4, kinds=17)
    assert example.image.shape == (64, 96, 3)
    assert example.masks[4].shape == (16, 24)
    assert example.person.sum() == 2
    assert example.labelled.sum() == 2 * 17
    assert (example.keypoints >= 0).all()
    assert (example.keypoints < (96, 64)).all()
    with pytest.raises(ValueError, match="got 5 people, expected 1 to 4"):
        draw_truth(5, size=(64, 96), max_people=4, kinds=17)


def test_photographs_have_the_size_asked_for(tmp_path):
    first, second = write_photographs(tmp_path, 2, size=(64, 96))
    assert cv2.imread(str(first)).shape == (64, 96, 3)
    assert first.read_bytes() != second.read_bytes()
