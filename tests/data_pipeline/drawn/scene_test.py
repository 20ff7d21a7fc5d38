import numpy as np
import pytest

from data_pipeline.drawn.scene import Scene, draw_scene

SIZE = 128


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng([1, i]), SIZE) for i in range(100)]


def labelled(scene: Scene):
    return [a for a in scene.annotations if a.num_keypoints]


def test_the_same_state_draws_the_same_scene():
    first, again, other = (
        draw_scene(np.random.default_rng(s), SIZE) for s in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    for a, b in zip(first.annotations, again.annotations, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)
        np.testing.assert_array_equal(a.keypoints, b.keypoints)


@pytest.mark.parametrize("size", [96, 131, 192])
def test_images_have_the_asked_size(size):
    scene = draw_scene(np.random.default_rng(0), size)
    assert scene.image.shape == (size, size, 3)
    assert all(a.mask.shape == (size, size) for a in scene.annotations)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"got size 95, expected at least 96"):
        draw_scene(np.random.default_rng(0), 95)


def test_every_number_of_people_from_none_to_eight_occurs(scenes):
    counts = np.bincount([len(labelled(scene)) for scene in scenes], minlength=9)
    assert len(counts) == 9
    assert (counts > 0).all()
    assert 2.0 < counts @ np.arange(9) / counts.sum() < 3.0


def test_crowds_and_people_without_keypoints_occur(scenes):
    annotations = [a for scene in scenes for a in scene.annotations]
    assert 3 <= sum(a.is_crowd for a in annotations) <= 30
    assert any(not a.is_crowd and not a.num_keypoints for a in annotations)
    assert not any(a.is_crowd and a.num_keypoints for a in annotations)


def test_masks_of_a_scene_are_disjoint_and_not_empty(scenes):
    for scene in scenes:
        masks = np.array([a.mask for a in scene.annotations]).reshape(-1, SIZE, SIZE)
        assert (masks.sum(axis=0) <= 1).all()
        assert masks.any(axis=(1, 2)).all()


def test_keypoints_agree_with_visibility_mask_and_image(scenes):
    for scene in scenes:
        for person in scene.annotations:
            points, v = person.keypoints[:, :2], person.keypoints[:, 2]
            assert set(v) <= {0.0, 1.0, 2.0}
            assert (points[v == 0] == 0).all()
            assert (points >= -0.5).all()
            assert (points <= SIZE - 0.5).all()
            columns, rows = np.rint(points[v == 2]).astype(int).T
            assert person.mask[rows, columns].all()


def test_all_visibilities_occur(scenes):
    v = np.concatenate([p.keypoints[:, 2] for s in scenes for p in labelled(s)])
    shares = np.bincount(v.astype(int)) / len(v)
    assert shares[0] > 0.02
    assert shares[1] > 0.1
    assert shares[2] > 0.6


def test_colors_do_not_tell_keypoints(scenes):
    colors, names = [], []
    for scene in scenes:
        for person in labelled(scene):
            seen = np.flatnonzero(person.keypoints[:, 2] == 2)
            columns, rows = np.rint(person.keypoints[seen, :2]).astype(int).T
            colors.append(scene.image[rows, columns].astype(float))
            names.append(seen)
    color, name = np.concatenate(colors), np.concatenate(names)
    train = np.arange(len(name)) % 2 == 0
    # The best guess of Gaussian classes with a common spread: the nearest mean.
    means = np.stack([color[train & (name == k)].mean(axis=0) for k in range(17)])
    distance = np.linalg.norm(color[~train, None] - means, axis=2)
    hits = np.mean(np.argmin(distance, axis=1) == name[~train])
    chance = np.bincount(name[~train]).max() / np.count_nonzero(~train)
    assert hits < 2 * chance


def test_no_color_tells_people_from_clutter(scenes):
    inside, outside = [], []
    for scene in scenes:
        if scene.annotations:
            people = np.any([a.mask for a in scene.annotations], axis=0)
            inside.append(scene.image[people].mean(axis=0))
            outside.append(scene.image[~people].mean(axis=0))
    gap = np.mean(inside, axis=0) - np.mean(outside, axis=0)
    assert (np.abs(gap) < 0.5 * np.std(outside, axis=0)).all()
