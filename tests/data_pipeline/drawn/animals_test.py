import numpy as np
import pytest

from data_pipeline.drawn.animals import ANIMALS, draw_animals
from data_pipeline.drawn.dataset import write_drawn_dataset
from data_pipeline.feed.examples import MIN_CENTER_AREA
from data_pipeline.read.validate import validate


@pytest.fixture(scope="module")
def scenes():
    return [draw_animals(np.random.default_rng([0, n]), 128) for n in range(40)]


def test_the_same_state_draws_the_same_scene(scenes):
    again = draw_animals(np.random.default_rng([0, 3]), 128)
    np.testing.assert_array_equal(again.image, scenes[3].image)
    assert again.image.shape == (128, 128, 3)


def test_most_scenes_have_animals_with_all_keypoints_in_sight(scenes):
    animals = [animal for scene in scenes for animal in scene.annotations]
    assert len(animals) >= len(scenes)
    states = np.array([animal.keypoints[:, 2] for animal in animals])
    assert states.shape[1:] == (5,)
    assert (states > 0).all()
    assert (states == 2).mean() > 0.8


def test_seen_keypoints_are_where_the_animal_is(scenes):
    for scene in scenes:
        for animal in scene.annotations:
            seen = animal.keypoints[animal.keypoints[:, 2] == 2]
            columns, rows = np.rint(seen[:, :2]).astype(int).T
            assert animal.mask[rows, columns].all()


def test_left_is_left_of_the_way_from_rump_to_nose(scenes):
    for scene in scenes:
        for animal in scene.annotations:
            nose, left, right, rump, _ = animal.keypoints[:, :2]
            forward, across = nose - rump, right - left
            assert np.cross(np.append(forward, 0), np.append(across, 0))[2] > 0


def test_animals_are_large_enough_to_have_a_centre(scenes):
    areas = [a.mask.sum() for scene in scenes for a in scene.annotations]
    assert np.mean(np.array(areas) >= MIN_CENTER_AREA) > 0.8


def test_the_data_set_is_sound_and_complete(tmp_path):
    numbers = {"num_train": 3, "num_val": 2, "size": 128, "seed": 1}
    out = tmp_path / "animals"
    for _ in range(2):  # the second time it is there
        write_drawn_dataset(out, **numbers, progress=False, subject=ANIMALS)
    reports = validate(out, progress=False)
    assert {name: report.good for name, report in reports.items()} == {
        "train": 3,
        "val": 2,
    }
    assert not any(report.faults for report in reports.values())
    with pytest.raises(ValueError, match="got a folder with other content"):
        write_drawn_dataset(out, **numbers, progress=False)
