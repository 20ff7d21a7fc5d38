import dataclasses

import numpy as np
import pytest

from data_pipeline.drawn.body import Sprite
from data_pipeline.drawn.scene import Stage


def block(width: int = 20, height: int = 40, *, color: int = 200) -> Sprite:
    """A block of one colour with all keypoints at its middle."""
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return Sprite(
        rgb=np.full((height, width, 3), color, np.uint8),
        mask=np.ones((height, width), bool),
        keypoints=np.tile(middle, (17, 1)),
        seen=np.ones(17, bool),
        labelled=np.ones(17, bool),
    )


def test_who_is_added_later_stands_behind():
    stage = Stage(50)
    near = stage.add(block(color=200), [(10, 10)], min_visible=0.1)
    far = stage.add(block(color=90), [(20, 10)], min_visible=0.1)
    image = stage.paint(np.zeros((100, 100, 3), np.uint8))
    # Stage columns 10..29 are image columns 5..14; the far one shows 15..19.
    assert image[10, 14, 0] == 200
    assert image[10, 15, 0] == 90
    assert stage.visible([near])[10].sum() == 10
    assert stage.visible([far])[10].sum() == 5
    assert stage.visible([near, far])[10].sum() == 15


def test_keypoints_are_pixel_centers_of_the_image():
    stage = Stage(50)
    actor = stage.add(block(), [(10, 10)], min_visible=1.0)
    keypoints = stage.keypoints(actor, stage.visible([actor]))
    # Image columns 5..14 and rows 5..24.
    np.testing.assert_allclose(keypoints, np.tile([9.5, 14.5, 2.0], (17, 1)))


def test_keypoints_behind_somebody_are_labelled_but_hidden():
    stage = Stage(50)
    stage.add(block(), [(15, 10)], min_visible=1.0)
    far = stage.add(block(), [(10, 10)], min_visible=0.1)
    keypoints = stage.keypoints(far, stage.visible([far]))
    np.testing.assert_allclose(keypoints, np.tile([9.5, 14.5, 1.0], (17, 1)))


def test_keypoints_behind_the_own_body_are_labelled_but_hidden():
    stage = Stage(50)
    sprite = dataclasses.replace(block(), seen=np.zeros(17, bool))
    actor = stage.add(sprite, [(10, 10)], min_visible=1.0)
    keypoints = stage.keypoints(actor, stage.visible([actor]))
    assert set(keypoints[:, 2]) == {1.0}


@pytest.mark.parametrize("corner", [(-13, 10), (93, 10), (10, -27), (10, 83)])
def test_keypoints_outside_the_image_are_zero(corner):
    stage = Stage(50)
    actor = stage.add(block(), [corner], min_visible=0.1)
    keypoints = stage.keypoints(actor, stage.visible([actor]))
    np.testing.assert_array_equal(keypoints, np.zeros((17, 3)))


def test_unlabelled_keypoints_are_zero():
    stage = Stage(50)
    sprite = dataclasses.replace(block(), labelled=np.zeros(17, bool))
    actor = stage.add(sprite, [(10, 10)], min_visible=1.0)
    keypoints = stage.keypoints(actor, stage.visible([actor]))
    np.testing.assert_array_equal(keypoints, np.zeros((17, 3)))


def test_places_that_show_too_little_are_not_taken():
    stage = Stage(50)
    stage.add(block(), [(10, 10)], min_visible=1.0)
    assert stage.add(block(), [(12, 10), (300, 10)], min_visible=0.5) is None
    actor = stage.add(block(), [(12, 10), (20, 10)], min_visible=0.5)
    assert actor.corner == (20, 10)
    assert len(stage.actors) == 2
