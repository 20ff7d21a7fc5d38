import subprocess
import sys

import cv2
import numpy as np
import PIL.Image
import pytest

from logocap_jax import Predictor
from logocap_jax.predictor import Poses

NAMES = ("000000165518", "000000397133")


@pytest.fixture(scope="module")
def predictor(parity_dir):
    weights = parity_dir / "tiny" / "weights.npz"
    return Predictor.from_weights(weights, short_side=256, batch_size=2)


@pytest.fixture(scope="module")
def cases(parity_dir):
    found = []
    for name in NAMES:
        with np.load(parity_dir / "tiny" / f"infer_{name}.npz") as arrays:
            names = ("image", "final_keypoints", "final_scores", "affine")
            found.append({name: arrays[name] for name in names})
    return found


@pytest.fixture(scope="module")
def found(predictor, cases):
    return predictor([case["image"] for case in cases])


@pytest.mark.parity
def test_poses_are_those_of_the_reference(found, cases):
    errors = []
    for poses, case in zip(found, cases, strict=True):
        assert len(poses) == len(case["final_scores"])
        np.testing.assert_allclose(poses.scores, case["final_scores"], rtol=1e-4)
        distance = np.abs(poses.keypoints - case["final_keypoints"][..., :2])
        errors.append(distance.max(axis=-1).ravel() * case["affine"][0, 0])
    errors = np.concatenate(errors)  # input px
    assert np.mean(errors > 0.01) <= 0.005
    assert errors.max() <= 1


@pytest.mark.parity
def test_company_and_order_change_nothing(predictor, cases, found):
    images = [case["image"] for case in cases]
    alone = predictor(images[0])
    assert isinstance(alone, Poses)
    mixed = predictor([images[1], images[0], images[1], images[1], images[0]])
    for poses, expected in zip(
        [alone, *mixed], [found[i] for i in (0, 1, 0, 1, 1, 0)], strict=True
    ):
        np.testing.assert_allclose(poses.scores, expected.scores, rtol=1e-4)
        np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=0.01)


@pytest.mark.parity
@pytest.mark.parity
def test_a_canvas_of_their_own_changes_nothing(parity_dir, cases, found):
    weights = parity_dir / "tiny" / "weights.npz"
    options = {"short_side": 256, "share_canvases": False}
    own = Predictor.from_weights(weights, **options)
    images = [case["image"] for case in cases]
    for poses, expected in zip(own(images), found, strict=True):
        np.testing.assert_allclose(poses.scores, expected.scores, rtol=1e-4)
        np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=0.01)


def test_an_image_is_a_path_an_array_or_a_pil_image(predictor, cases, found, tmp_path):
    image = cases[0]["image"]
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image[..., ::-1])
    given = [path, str(path), image, PIL.Image.fromarray(image)]
    for poses in predictor(given):
        np.testing.assert_allclose(poses.keypoints, found[0].keypoints, atol=0.01)


@pytest.mark.parity
def test_thresholds_and_views_of_poses(found, cases):
    poses = found[0]
    assert poses.best_left_out is None
    some = poses.above(float(np.median(poses.scores)))
    assert some.best_left_out == poses.scores[len(some)]
    assert 0 < len(some) < len(poses)
    assert some.initial_keypoints.shape == some.keypoints.shape
    assert not np.array_equal(some.initial_keypoints, some.keypoints)
    for box, points in zip(poses.boxes, poses.keypoints, strict=True):
        np.testing.assert_array_equal(box[:2], points.min(axis=0))
        np.testing.assert_array_equal(box[2:], points.max(axis=0))
    results = poses.to_coco(7)
    assert [result["score"] for result in results] == poses.scores.tolist()
    assert {result["image_id"] for result in results} == {7}
    drawn = poses.draw(cases[0]["image"], initial=True)
    assert drawn.dtype == np.uint8
    assert drawn.shape[0] >= cases[0]["image"].shape[0]
    same = poses.draw(PIL.Image.fromarray(cases[0]["image"]), initial=True)
    np.testing.assert_array_equal(same, drawn)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("absent.jpg", r"absent\.jpg: got no regular file"),
        (np.zeros((9, 8), np.uint8), r"got an array of uint8 \[9, 8\]"),
        (np.zeros((9, 8, 3)), r"got an array of float64 \[9, 8, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), "got 8x0 pixels"),
        (7, "got an image of type int"),
        (np.zeros((1, 9000, 3), np.uint8), "whose input would be"),
    ],
)
def test_what_is_no_image_is_refused(predictor, image, message):
    with pytest.raises(ValueError, match=message):
        predictor([image])


@pytest.mark.parity
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 0}, "got short_side=0"),
        ({"batch_size": 0}, "got batch_size=0"),
        ({"dtype": "float99"}, "got dtype='float99'"),
        ({"settings": {"embedding": 9}}, "of the wrong shape"),
        ({"settings": {"no_such": 9}}, "unknown settings"),
    ],
)
def test_options_that_do_not_fit_are_refused(parity_dir, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor.from_weights(parity_dir / "tiny" / "weights.npz", **options)


def test_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pth: no such weights"):
        Predictor.from_weights(tmp_path / "none.pth")


def test_the_package_starts_nothing_before_the_predictor_is_asked_for():
    code = (
        "import sys, logocap_jax\n"
        "assert not {'jax', 'numpy', 'cv2'} & sys.modules.keys()\n"
        "assert logocap_jax.Predictor.__name__ == 'Predictor'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
