"""A predictor whose method sees one person at a time."""

import numpy as np
import pytest

from logocap_jax import structures
from logocap_jax.methods.base import InputSpec, PersonCrop
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import check_boxes, person_box, whole_picture
from logocap_jax.predictor.poses import Poses, join_people
from logocap_jax.predictor.predictor import Predictor
from logocap_jax.skeletons import COCO

CROP = PersonCrop(size=(96, 128), padding=1.25, nms_threshold=0.9)


@pytest.fixture(scope="module")
def predictor():
    """Finds all keypoints in the middle of a crop."""

    def predict(view):
        count = len(view.image)
        middle = np.full((count, 1, 17, 2), [48, 64], np.float32)
        ones = np.ones((count, 1), np.float32)
        scores = np.ones((count, 1, 17), np.float32)
        return structures.Poses(middle, scores, ones, ones > 0)

    model = Model(predict, COCO, inputs=InputSpec(crop=CROP))
    return Predictor(model, whole_picture(CROP.size), batch_size=2)


IMAGE = np.zeros((60, 80, 3), np.uint8)


def test_a_person_lies_in_the_middle_of_its_box(predictor):
    poses = predictor(
        IMAGE,
        boxes=[
            [10, 20, 30, 40],
            [
                50,
                10,
                70,
                20,
            ],
        ],
    )
    middles = sorted(poses.keypoints[:, 0].tolist())
    np.testing.assert_allclose(middles, [[20, 30], [60, 15]], atol=1e-4)


def test_of_the_same_box_the_better_score_stays(predictor):
    boxes = [[10, 20, 30, 40, 0.25], [10, 20, 30, 41, 0.5], [50, 0, 60, 9, 0.125]]
    poses = predictor(IMAGE, boxes=boxes)
    np.testing.assert_allclose(poses.scores, [0.5, 0.125])


def test_without_boxes_the_picture_is_one_persons(predictor):
    poses = predictor(IMAGE)
    np.testing.assert_allclose(poses.keypoints[0, 0], [40, 30], atol=1e-4)


def test_images_have_boxes_of_their_own(predictor):
    found = predictor([IMAGE, IMAGE], boxes=[[], [[0, 0, 8, 8]]])
    assert [len(poses) for poses in found] == [0, 1]
    with pytest.raises(ValueError, match="got 1 images and boxes of 2"):
        predictor([IMAGE], boxes=[[], []])


@pytest.mark.parametrize(
    "boxes",
    [[1, 2, 3, 4], [[1, 2, 3]], [[5, 0, 4, 9]], [["a"] * 4], [[0, 0, np.inf, 1]]],
)
def test_boxes_that_are_none_are_refused(boxes):
    with pytest.raises(ValueError, match="got box"):
        check_boxes(boxes)


def test_a_method_that_finds_people_takes_no_boxes(predictor):
    model = Model(lambda view: view, COCO)
    with pytest.raises(ValueError, match="finds people by itself"):
        Predictor(model, whole_picture((64, 64)))(IMAGE, boxes=[[0, 0, 9, 9]])


def test_crops_have_the_aspect_of_the_input():
    size, transform = person_box(np.array([0.0, 0, 60, 20]), (96, 128), 1.25)((80, 60))
    assert size == (96, 128)
    np.testing.assert_allclose(transform[0, 0], 96 / 75)


def test_nobody_is_an_empty_result():
    poses = join_people(
        [], box_scores=np.zeros(0), areas=np.zeros(0), skeleton=COCO, threshold=0.9
    )
    assert isinstance(poses, Poses)
    assert len(poses) == 0
