import cv2
import numpy as np
import pytest

from logocap_jax.methods.base import PatchLayer
from logocap_jax.predictor import Poses, Predictor
from logocap_jax.serving import session
from logocap_jax.serving.session import (
    MAX_PIXELS,
    MAX_UPLOAD_BYTES,
    TimedPredictor,
    person_at,
    read_upload,
)
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
def predictor(parity_dir):
    weights = parity_dir / "tiny" / "weights.npz"
    return TimedPredictor(Predictor.from_weights(weights, short_side=128))


@pytest.fixture(scope="module")
def state(predictor, parity_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("upload") / "photo.png"
    with np.load(parity_dir / "tiny" / f"infer_{NAME}.npz") as arrays:
        cv2.imwrite(str(path), arrays["image"][..., ::-1])
    first, second = predictor(path), predictor(path)
    assert first.compiled
    assert not second.compiled
    assert second.model_seconds > 0 < second.decode_seconds
    return second


@pytest.mark.parity
def test_every_picture_is_drawn_and_differs_from_the_photograph(predictor, state):
    assert list(predictor.pictures) == [
        *("refined", "refined and initial", "initial", "centers", "heatmaps")
    ]
    drawn = [session.draw(state, views) for views in predictor.pictures.values()]
    assert len({picture.tobytes() for picture in drawn}) == len(drawn)
    for picture in drawn:
        assert max(picture.shape[:2]) <= 1600


@pytest.mark.parity
def test_weights_of_the_baseline_have_no_refined_picture(center_offset_weights):
    weights = Predictor.from_weights(center_offset_weights, short_side=64)
    predictor = TimedPredictor(weights)
    assert not predictor.patches
    assert list(predictor.pictures) == ["poses", "centers", "heatmaps"]


@pytest.mark.parity
def test_a_click_on_a_shown_picture_is_a_point_of_the_photograph(predictor, state):
    width = state.pixels.shape[1]
    point = session.image_point(state, np.array([width - 0.5, 0.0]), 2 * width)
    np.testing.assert_allclose(point, [width / 2 - 0.5, -0.25])
    assert predictor.patches == {"kam": PatchLayer}
    for person in range(len(state.explained.poses)):
        sheet = session.draw_person(state, "kam", person)
        assert sheet.shape[2] == 3
        assert sheet.max() > 200


def _png(path, height, width):
    cv2.imwrite(str(path), np.full((height, width, 3), (10, 20, 30), np.uint8))
    return path


def test_a_photograph_is_read_as_rgb(tmp_path):
    pixels = read_upload(_png(tmp_path / "a.png", 5, 7))
    assert pixels.shape == (5, 7, 3)
    assert pixels[0, 0].tolist() == [30, 20, 10]


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "a.jpg"
    with path.open("wb") as stream:
        stream.truncate(MAX_UPLOAD_BYTES + 1)
    with pytest.raises(ValueError, match="expected JPEG or PNG, up to 20 MiB and 24"):
        read_upload(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = _png(tmp_path / "a.png", 5, 7)
    data = bytearray(path.read_bytes())
    data[16:20] = data[20:24] = (5000).to_bytes(4, "big")
    assert MAX_PIXELS < 5000**2
    path.write_bytes(data)
    with pytest.raises(ValueError, match="got 5000x5000 pixels, expected JPEG or PNG"):
        read_upload(path)


def test_what_is_no_image_is_refused_without_naming_a_folder_of_the_server(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="expected JPEG or PNG") as caught:
        read_upload(path)
    assert str(tmp_path) not in str(caught.value)
