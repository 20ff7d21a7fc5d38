import dataclasses
import logging

import numpy as np
import pytest

from logocap_jax.methods import build_config
from logocap_jax.skeletons import COCO, CROWDPOSE, Skeleton, side_pairs


def skeleton_of(names, **fields):
    return Skeleton("own", tuple(names), (0.05,) * len(names), (), **fields)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        *(("left_x", "right_x"), ("Left X", "Right X"), ("left-x", "right-x")),
        *(("LeftX", "RightX"), ("leftX", "rightX"), ("l_x", "r_x"), ("L-X", "R-X")),
        *(("x_left", "x_right"), ("x_l", "x_r"), ("left", "right"), ("L", "R")),
        *(("front_left_x", "front_right_x"), ("LEFT_EYE", "RIGHT_EYE")),
        *(("Left_eye", "right_EYE"), ("left eye", "right_eye"), ("l.eye", "r.eye")),
        *(("LEye", "REye"), ("EyeL", "EyeR"), ("lEye", "rEye"), ("left1", "right1")),
        *(("lefteye", "righteye"), ("eyeleft", "eyeright"), ("l_eye", "right_eye")),
        *(
            ("frontLeftPaw", "frontRightPaw"),
            ("left 1", "right 1"),
            ("(L) ear", "(R) ear"),
        ),
        ("left_eye_right_corner", "right_eye_left_corner"),
    ],
)
def test_sides_pair_in_any_spelling(left, right):
    assert side_pairs(("nose", left, "tail", right)) == ((1, 3),)
    assert side_pairs((right, "upright", left)) == ((0, 2),)


@pytest.mark.parametrize(
    "names",
    [
        *(
            ("lip", "rip"),
            ("l1", "r1"),
            ("lower", "rower"),
            ("nose", "tail"),
            ("0", "1"),
        ),
        *(("left_ear", "nose"), ("left_ear", "right_eye"), ("left",), ("x_l", "x_m")),
        ("left_x", "Left X", "right_x"),  # two of one side
        ("left_x", "right_x", "left_y"),
        *(("leftover", "rest"), ("copyright", "nose"), ("bright", "left")),
    ],
)
def test_names_that_tell_no_sides_turn_mirroring_off(names):
    skeleton = skeleton_of(names)
    assert side_pairs(names) is None
    assert not skeleton.mirrors
    np.testing.assert_array_equal(skeleton.flip_index, np.arange(len(names)))


def test_public_skeletons_pair_as_their_index_says():
    assert COCO.flip_index.tolist() == [
        *(0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
    ]
    assert CROWDPOSE.flip_index.tolist() == [
        *(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13)
    ]


def test_given_pairs_win_and_none_given_mirrors_in_place():
    names = ("left_a", "right_a", "b")
    assert skeleton_of(names, flip_pairs=((0, 2),)).flip_index.tolist() == [2, 1, 0]
    in_place = skeleton_of(names, flip_pairs=())
    assert in_place.mirrors
    assert in_place.flip_index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["logocap", "dekr"])
def test_the_flip_test_is_off_without_sides_and_one_line_says_so(name, caplog):
    unpaired = skeleton_of([f"{name}_lip", "rip"])
    settings = {"skeleton": dataclasses.asdict(unpaired), "flip_test": True}
    with caplog.at_level(logging.WARNING):
        configs = [build_config(name, settings) for _ in range(2)]
    assert not any(config.flip_test for config in configs)
    assert caplog.text.count("mirroring is off") == 1
    paired = dataclasses.asdict(skeleton_of(["l_ear", "r_ear"]))
    assert build_config(name, {"skeleton": paired}).flip_test
