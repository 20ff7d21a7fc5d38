import numpy as np
import pytest

from data_pipeline.drawn.figure import Figure, View, pose_figure, random_figure
from logocap_jax.skeletons import COCO

PARTS = [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")]
LENGTHS = ["upper_arm", "forearm", "thigh", "shin"]


def seen_from(view: View, seed: int) -> Figure:
    rng = np.random.default_rng(seed)
    return pose_figure(rng, build=random_figure(rng).build, view=view)


def left_minus_right(figure: Figure, joint: str) -> float:
    left, right = (
        COCO.keypoints.index(f"{side}_{joint}") for side in ("left", "right")
    )
    return float(figure.keypoints[left, 0] - figure.keypoints[right, 0])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("yaw", [-40.0, 0.0, 40.0])
@pytest.mark.parametrize("joint", ["shoulder", "hip"])
def test_left_is_at_image_right_of_somebody_who_faces_the_viewer(seed, yaw, joint):
    figure = seen_from(View(yaw=yaw, elevation=8.0, roll=0.0), seed)
    assert left_minus_right(figure, joint) > 0
    assert not figure.faces_away


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("joint", ["shoulder", "hip"])
def test_left_is_at_image_left_of_somebody_who_shows_the_back(seed, joint):
    figure = seen_from(View(yaw=180.0, elevation=8.0, roll=0.0), seed)
    assert left_minus_right(figure, joint) < 0
    assert figure.faces_away


@pytest.mark.parametrize("seed", range(8))
def test_bones_keep_their_lengths_in_every_pose(seed):
    figure = random_figure(np.random.default_rng(seed))
    for (start, end), bone in zip(PARTS, LENGTHS, strict=True):
        for side in ("left", "right"):
            span = figure.points[f"{side}_{end}"] - figure.points[f"{side}_{start}"]
            assert np.linalg.norm(span) == pytest.approx(getattr(figure.build, bone))


def test_roll_turns_the_whole_figure_in_the_image_plane():
    upright = seen_from(View(yaw=10.0, elevation=8.0, roll=0.0), 3).keypoints
    leaning = seen_from(View(yaw=10.0, elevation=8.0, roll=90.0), 3).keypoints
    # A quarter turn against the clock: right becomes up, down becomes right.
    expected = np.stack([upright[:, 1], -upright[:, 0]], axis=1)
    np.testing.assert_allclose(leaning, expected, atol=1e-12)


def test_heads_are_above_and_feet_below_the_hips_of_upright_people():
    for seed in range(40):
        figure = seen_from(View(yaw=0.0, elevation=5.0, roll=0.0), seed)
        assert figure.points["head"][1] < 0 < figure.points["left_ankle"][1]


def test_about_one_in_five_shows_the_back():
    rng = np.random.default_rng(0)
    away = np.mean([abs(random_figure(rng).view.yaw) > 100 for _ in range(500)])
    assert 0.14 < away < 0.27
