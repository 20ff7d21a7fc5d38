import numpy as np

from data_pipeline.drawn.body import random_outfit, random_sprite, render_person
from data_pipeline.drawn.figure import View, pose_figure, random_figure
from logocap_jax.skeletons import COCO

FACE = [COCO.keypoints.index(name) for name in ("nose", "left_eye", "right_eye")]


def sprite_seen_from(yaw: float, seed: int):
    rng = np.random.default_rng(seed)
    view = View(yaw=yaw, elevation=8.0, roll=0.0)
    figure = pose_figure(rng, build=random_figure(rng).build, view=view)
    return render_person(figure, random_outfit(rng), 150.0)


def test_keypoints_lie_inside_the_silhouette():
    rng = np.random.default_rng(0)
    for _ in range(30):
        sprite = random_sprite(rng, 120.0)
        columns, rows = np.rint(sprite.keypoints[sprite.seen]).astype(int).T
        assert sprite.mask[rows, columns].all()


def test_joints_are_where_the_body_is_thick():
    # A joint on an outline would be an error of the anatomy, not of the rounding.
    for seed in range(30):
        sprite = random_sprite(np.random.default_rng(seed), 200.0)
        columns, rows = np.rint(sprite.keypoints[5:]).astype(int).T
        for row, column in zip(rows, columns, strict=True):
            assert sprite.mask[row - 2 : row + 3, column - 2 : column + 3].all()


def test_faces_are_seen_from_the_front():
    seen = np.mean([sprite_seen_from(0.0, seed).seen[FACE] for seed in range(30)])
    assert seen > 0.8


def test_faces_are_not_labelled_from_behind():
    for seed in range(30):
        sprite = sprite_seen_from(180.0, seed)
        assert not sprite.seen[FACE[1:]].any()  # A nose may stand out at the side.
        assert not sprite.labelled[FACE].any()
        assert sprite.labelled[3:].all()


def test_own_limbs_hide_some_keypoints():
    rng = np.random.default_rng(0)
    seen = np.mean([random_sprite(rng, 100.0).seen[5:] for _ in range(60)])
    assert 0.7 < seen < 0.98
