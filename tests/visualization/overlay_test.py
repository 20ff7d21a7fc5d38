import dataclasses
import json

import cv2
import numpy as np
import pytest

from logocap_jax.skeletons import COCO, Skeleton
from logocap_jax.visualization.overlay import draw_poses, write_image

_STICK = Skeleton(
    name="stick",
    keypoints=("head", "left_hand", "right_hand"),
    sigmas=(0.05, 0.05, 0.05),
    limbs=((0, 1), (0, 2), (1, 2)),
)


@dataclasses.dataclass(frozen=True)
class _Poses:
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray


def _poses(*people, keypoint_scores=None, scores=None):
    keypoints = np.asarray(people, np.float32).reshape(-1, 3, 2)
    ones = np.ones(keypoints.shape[:2], np.float32)
    return _Poses(
        keypoints=keypoints,
        keypoint_scores=ones * np.float32(keypoint_scores or 1.0),
        scores=np.float32(scores) if scores else ones[:, 0],
    )


def _gray(height=600, width=800):
    return np.full((height, width, 3), 128, np.uint8)


_HEAD, _LEFT, _RIGHT = (400, 100), (600, 500), (200, 500)
_PERSON = (_HEAD, _LEFT, _RIGHT)


def _middle(start, end):
    return (start[1] + end[1]) // 2, (start[0] + end[0]) // 2


def _changed(drawn, image):
    return (drawn != image).any(axis=-1)


def test_image_stays_as_it_is_without_poses():
    image = np.random.default_rng(0).integers(0, 256, (520, 40, 3), np.uint8)
    drawn = draw_poses(image, _poses(), _poses(), skeleton=_STICK)
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_given_image_is_not_drawn_upon():
    image = _gray()
    draw_poses(image, _poses(_PERSON), _poses(_PERSON), skeleton=_STICK)
    np.testing.assert_array_equal(image, _gray())


def test_limbs_take_the_color_of_their_side():
    drawn = draw_poses(_gray(), _poses(_PERSON), skeleton=_STICK)
    left = drawn[_middle(_HEAD, _LEFT)].astype(int)
    right = drawn[_middle(_HEAD, _RIGHT)].astype(int)
    between = drawn[_middle(_LEFT, _RIGHT)].astype(int)
    assert left[0] > 200 > 50 > left[2]  # Warm.
    assert right[2] > 200 > 50 > right[0]  # Cool.
    assert between[1] > max(between[0], between[2])


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_every_limb_has_dark_and_bright_pixels_on_any_background(brightness):
    image = np.full((600, 800, 3), brightness, np.uint8)
    drawn = draw_poses(image, _poses(_PERSON), skeleton=_STICK)
    row, column = _middle(_LEFT, _RIGHT)
    across = drawn[row - 8 : row + 9, column].max(axis=-1)
    assert across.min() < 40
    assert across.max() > 200


def test_drawing_stays_near_limbs():
    drawn = draw_poses(_gray(), _poses(_PERSON), skeleton=_STICK, show_scores=False)
    lines = np.zeros((600, 800), np.uint8)
    cv2.polylines(lines, [np.asarray(_PERSON)], True, 1, thickness=25)
    changed = _changed(drawn, _gray())
    assert changed.any()
    assert not changed[lines == 0].any()


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_keypoint_of_low_score_is_left_out_with_its_limbs(hidden):
    scores = [0.9, 0.9, 0.9]
    scores[hidden] = 0.29
    options = {"skeleton": _STICK, "min_keypoint_score": 0.3, "show_scores": False}
    poses = _poses(_PERSON, keypoint_scores=scores)
    changed = _changed(draw_poses(_gray(), poses, **options), _gray())
    for start, end in _STICK.limbs:
        expected = hidden not in (start, end)
        assert changed[_middle(_PERSON[start], _PERSON[end])] == expected
    for index, (x, y) in enumerate(_PERSON):
        assert changed[y, x] == (index != hidden)


def test_pose_of_low_score_is_left_out():
    poses = _poses(_PERSON, scores=[0.29])
    drawn = draw_poses(_gray(), poses, skeleton=_STICK, min_score=0.3)
    np.testing.assert_array_equal(drawn, _gray())


def test_pose_of_better_score_is_on_top_whatever_the_order():
    left_over_right = ((400, 300), (700, 300), (400, 400))
    right_over_left = ((400, 300), (400, 200), (700, 300))
    for scores in ([0.4, 0.9], [0.9, 0.4]):
        poses = _poses(left_over_right, right_over_left, scores=scores)
        red, _, blue = draw_poses(_gray(), poses, skeleton=_STICK)[300, 500]
        assert (red > blue) == (scores[0] > scores[1])


def test_thin_poses_are_white_over_thick_ones_and_narrower():
    drawn = draw_poses(
        _gray(), _poses(_PERSON), _poses(_PERSON), skeleton=_STICK, show_scores=False
    )
    row, column = _middle(_LEFT, _RIGHT)
    across = drawn[row - 8 : row + 9, column]
    white = (across > 240).all(axis=-1)
    assert white[8]
    assert white.sum() <= 3
    without = draw_poses(_gray(), _poses(_PERSON), skeleton=_STICK, show_scores=False)
    np.testing.assert_array_equal(_changed(drawn, _gray()), _changed(without, _gray()))


def test_lines_are_wider_on_larger_people_and_never_hairlines():
    def width_of(person_side):
        start = (200, 2000)
        person = (start, (200 + person_side, 2000), start)
        image = np.full((4000, 4000, 3), 128, np.uint8)
        drawn = draw_poses(image, _poses(person), skeleton=_STICK, show_scores=False)
        return _changed(drawn, image)[:, 200 + person_side // 2].sum()

    assert width_of(3000) > width_of(1200) >= width_of(100) >= 4000 * 0.003


def test_small_image_is_enlarged_and_poses_with_it():
    image = np.full((96, 128, 3), 128, np.uint8)
    person = tuple((x * 0.16, y * 0.16) for x, y in _PERSON)
    drawn = draw_poses(image, _poses(person), skeleton=_STICK, min_side=512)
    assert drawn.shape == (384, 512, 3)
    for x, y in person:
        assert (drawn[round((y + 0.5) * 4), round((x + 0.5) * 4)] != 128).any()
    empty = draw_poses(image, _poses(), skeleton=_STICK, min_side=512)
    np.testing.assert_array_equal(empty, np.full((384, 512, 3), 128))


def test_enlarging_keeps_a_keypoint_on_the_center_of_its_pixel():
    image = np.full((64, 64, 3), 128, np.uint8)
    poses = _poses(((20, 30), (0, 0), (0, 0)), keypoint_scores=[1, 0, 0])
    drawn = draw_poses(image, poses, skeleton=_STICK, show_scores=False)
    rows, columns = np.nonzero(_changed(drawn, np.full_like(drawn, 128)))
    # Pixel 20 becomes the eight pixels 160 ... 167.
    assert columns.mean() == pytest.approx(163.5, abs=0.26)
    assert rows.mean() == pytest.approx(243.5, abs=0.26)


def test_score_is_written_above_the_head_unless_told_otherwise():
    with_score, without = (
        draw_poses(_gray(), _poses(_PERSON), skeleton=_STICK, show_scores=show)
        for show in (True, False)
    )
    rows, columns = np.nonzero(_changed(with_score, without))
    assert rows.max() < _HEAD[1]
    assert columns.min() > _HEAD[0] - 60
    assert columns.max() < _HEAD[0] + 60


@pytest.mark.parametrize(
    "person",
    [
        ((-50, 20), (300, 300), (900, 700)),
        ((-5000, -5000), (-6000, -5000), (-5000, -6000)),
        ((1e30, -1e30), (1e30, 1e30), (-1e30, 1e30)),
        ((0, 0), (0, 0), (0, 0)),
        ((799, 599), (799.5, 599.5), (800, 600)),
    ],
    ids=["across-border", "outside", "absurd", "point", "corner"],
)
def test_poses_at_and_beyond_the_border_are_drawn_where_they_show(person):
    drawn = draw_poses(_gray(), _poses(person), _poses(person), skeleton=_STICK)
    assert drawn.shape == (600, 800, 3)


def test_limb_that_leaves_the_image_is_drawn_up_to_the_border():
    person = ((400, 300), (5000, 300), (400, 300))
    drawn = draw_poses(_gray(), _poses(person), skeleton=_STICK, show_scores=False)
    assert _changed(drawn, _gray())[300, 400:].all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (600, 1), (2, 3)])
def test_images_of_odd_shapes_are_drawn_upon(shape):
    image = np.zeros((*shape, 3), np.uint8)
    drawn = draw_poses(image, _poses(((0, 0), (1, 1), (0, 1))), skeleton=_STICK)
    assert max(drawn.shape) >= 512


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_keypoint_is_an_error(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        draw_poses(_gray(), _poses((_HEAD, _LEFT, (bad, 0))), skeleton=_STICK)


def test_keypoints_of_another_skeleton_are_an_error():
    with pytest.raises(ValueError, match="the 17 keypoints of skeleton 'coco'"):
        draw_poses(_gray(), _poses(_PERSON), skeleton=COCO)


def test_ground_truth_of_a_real_image_is_marked_at_every_labelled_keypoint(
    coco_mini_dir,
):
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    truth = json.loads(path.read_text())
    encoded = np.fromfile(coco_mini_dir / "val2017" / "000000217285.jpg", np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.cvtColor(cv2.imdecode(encoded, flags), cv2.COLOR_BGR2RGB)
    people = [
        person["keypoints"]
        for person in truth["annotations"]
        if person["image_id"] == 217285 and person["num_keypoints"]
    ]
    triplets = np.asarray(people, np.float32).reshape(-1, 17, 3)
    labelled = triplets[..., 2] > 0
    poses = _Poses(
        triplets[..., :2], labelled.astype(np.float32), np.ones(len(people), np.float32)
    )
    drawn = draw_poses(image, poses, skeleton=COCO, show_scores=False)
    x, y = triplets[..., :2][labelled].astype(int).T
    assert _changed(drawn, image)[y, x].all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_written_image_reads_back(tmp_path, suffix):
    image = np.zeros((32, 48, 3), np.uint8)
    image[..., 0] = 250
    path = tmp_path / f"x{suffix}"
    write_image(path, image)
    read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(read[..., ::-1], image, atol=5)
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_image_format_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"expected \.png, \.jpg or \.jpeg"):
        write_image(tmp_path / "x.gif", _gray())
    assert list(tmp_path.iterdir()) == []
