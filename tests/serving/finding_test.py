import cv2
import numpy as np
import pytest

from logocap_jax.predictor import Poses
from logocap_jax.predictor.explainer import Explainer
from logocap_jax.serving import finding as found_in
from logocap_jax.serving.finding import PICTURES, Finder, person_at
from logocap_jax.skeletons import COCO

NAME = "000000397133"


def people(*places):
    """People of 60 px at places `(x, y)`."""
    shape = np.random.default_rng(0).uniform(0, 60, (17, 2))
    keypoints = np.array([shape + place for place in places]).reshape(-1, 17, 2)
    keypoints = keypoints.astype(np.float32)
    ones = np.ones(keypoints.shape[:2], np.float32)
    return Poses(keypoints, ones, ones[:, 0], keypoints, COCO)


def test_the_person_clicked_is_the_one_whose_limb_is_nearest():
    poses = people((0, 0), (40, 0), (300, 200))
    for person in range(3):
        for start, end in COCO.limbs:
            point = 0.7 * poses.keypoints[person, start]
            point = point + 0.3 * poses.keypoints[person, end]
            distances = [
                min(
                    np.linalg.norm((1 - s) * k[a] + s * k[b] - point)
                    for a, b in COCO.limbs
                    for s in np.linspace(0, 1, 41)
                )
                for k in poses.keypoints
            ]
            nearest = person_at(poses, point)
            assert distances[nearest] <= min(distances) + 1.0
    assert person_at(poses, np.array([310.0, 230.0])) == 2
    assert person_at(people(), np.zeros(2)) is None


@pytest.fixture(scope="module")
def finding(parity_dir, tmp_path_factory):
    weights = parity_dir / "tiny" / "weights.npz"
    path = tmp_path_factory.mktemp("upload") / "photo.png"
    with np.load(parity_dir / "tiny" / f"infer_{NAME}.npz") as arrays:
        cv2.imwrite(str(path), arrays["image"][..., ::-1])
    finder = Finder(Explainer.from_weights(weights, short_side=128))
    first, second = finder(path), finder(path)
    assert first.compiled
    assert not second.compiled
    assert second.model_seconds > 0 < second.decode_seconds
    return second


@pytest.mark.parity
def test_every_picture_is_drawn_and_differs_from_the_photograph(finding):
    drawn = [found_in.draw(finding, name) for name in PICTURES]
    assert len({picture.tobytes() for picture in drawn}) == len(PICTURES)
    for picture in drawn:
        assert max(picture.shape[:2]) <= 1600


@pytest.mark.parity
def test_without_attraction_maps_there_is_no_refined_picture(center_offset_weights):
    finder = Finder(Explainer.from_weights(center_offset_weights, short_side=64))
    assert not finder.has_kam
    assert finder.pictures == ("initial", "heatmaps")


@pytest.mark.parity
def test_a_click_on_a_shown_picture_is_a_point_of_the_photograph(finding):
    width = finding.pixels.shape[1]
    point = found_in.image_point(finding, np.array([width - 0.5, 0.0]), 2 * width)
    np.testing.assert_allclose(point, [width / 2 - 0.5, -0.25])
    people_there = finding.explained.poses
    for person in range(len(people_there)):
        sheet = found_in.draw_person(finding, person)
        assert sheet.shape[2] == 3
        assert sheet.max() > 200
