import numpy as np
import pytest

from logocap_jax.evaluation.analysis import (
    KINDS,
    average_precision,
    classify_keypoints,
    keypoint_similarities,
    precision_by_keypoint,
)

# Three keypoints: head, left hand, right hand. 2 * sigma * sqrt(area) is 10 px, so the
# similarity is exp(-d^2 / 200): 0.85 at 5.70 px, 0.5 at 11.77 px.
SIGMAS = np.array([0.05, 0.05, 0.05])
FLIP = np.array([0, 2, 1])
AREA = 100.0**2
ANN = [[0.0, 0.0], [-40.0, 0.0], [40.0, 0.0]]
BEN = [[0.0, 200.0], [-40.0, 200.0], [40.0, 200.0]]


def kinds(pose, *, people=(ANN, BEN), labelled=None, person=0, **changes):
    people = np.array(people)
    found = classify_keypoints(
        np.array(pose, float),
        people,
        np.ones(people.shape[:2], bool) if labelled is None else np.array(labelled),
        np.full(len(people), AREA),
        person=person,
        sigmas=SIGMAS,
        flip_index=FLIP,
        **changes,
    )
    return ["-" if kind < 0 else KINDS[kind] for kind in found]


def test_similarity_is_that_of_oks():
    got = keypoint_similarities(
        np.array(ANN) + np.array([6.0, 8.0]), np.array([ANN]), np.array([AREA]), SIGMAS
    )
    np.testing.assert_allclose(got, np.full((1, 3), np.exp(-0.5)), rtol=1e-12)


@pytest.mark.parametrize(
    ("distance", "kind"),
    [
        (0.0, "good"),
        (5.69, "good"),
        (5.71, "jitter"),
        (11.77, "jitter"),
        (11.78, "miss"),
        (90.0, "miss"),
    ],
)
def test_distance_tells_good_from_jitter_from_miss(distance, kind):
    assert kinds(np.array(ANN) - [0.0, distance]) == [kind] * 3


def test_crossed_hands_are_inverted():
    head, left, right = ANN
    assert kinds([head, right, left]) == ["good", "inversion", "inversion"]


def test_hand_of_someone_else_is_a_swap_also_if_it_is_the_other_hand():
    assert kinds([ANN[0], BEN[1], BEN[1]]) == ["good", "swap", "swap"]
    assert kinds([BEN[0], ANN[1], ANN[2]]) == ["swap", "good", "good"]


def test_head_near_a_hand_is_a_miss():
    assert kinds([ANN[1], ANN[1], ANN[2]]) == ["miss", "good", "good"]


def test_nearest_of_several_counts():
    hands = [[0.0, 0.0], [-4.0, 0.0], [4.0, 0.0]]
    # 1 px from the own hand, 7 px from the other.
    assert kinds([[0, 0], [-3, 0], [3, 0]], people=[hands])[1:] == ["good"] * 2
    # 5 px from the own hand, 3 px from the other.
    assert kinds([[0, 0], [1, 0], [-1, 0]], people=[hands])[1:] == ["inversion"] * 2
    # As far from both.
    assert kinds([[0, 0], [0, 0], [0, 0]], people=[hands])[1:] == ["good"] * 2


def test_keypoints_without_label_are_left_out_and_draw_nothing_to_them():
    labelled = [[True, False, True], [True, False, True]]
    # The left hand is on no labelled hand; the right hand lies on Ben's left one.
    assert kinds([ANN[0], ANN[1], BEN[1]], labelled=labelled) == ["good", "-", "miss"]


def test_other_person_may_be_the_match():
    assert kinds(BEN, person=1) == ["good"] * 3
    assert kinds(BEN, person=0) == ["swap"] * 3


def test_alone_in_the_image_nothing_is_swapped():
    assert kinds(BEN, people=[ANN]) == ["miss"] * 3


def test_limits_are_parameters():
    pose = np.array(ANN) + np.array([0.0, 5.0])
    assert kinds(pose, good_from=0.9) == ["jitter"] * 3
    assert kinds(pose, good_from=0.9, near_from=0.89) == ["miss"] * 3


def ap(right, num_truth, scores=None):
    right = np.array(right, bool)
    right = right[:, None] if right.ndim == 1 else right
    scores = np.arange(len(right), 0.0, -1) if scores is None else np.array(scores)
    return average_precision(scores, right, num_truth)


def test_all_right_is_one_and_all_wrong_is_zero():
    assert ap([1, 1, 1], 3) == 1.0
    assert ap([0, 0], 3) == 0.0
    assert ap([], 3) == 0.0


def test_nothing_to_find_has_no_precision():
    assert ap([0], 0) is None


def test_precision_by_hand():
    # Recall 1/2 at precision 1: the recalls 0, 0.01 ... 0.5. The rest never.
    assert ap([1, 0], 2) == pytest.approx(51 / 101)
    # Recall 1/2 at 1/2, then 1 at 2/3, which counts for all.
    assert ap([0, 1, 1], 2) == pytest.approx(2 / 3)
    # Ranked by score, not by place.
    assert ap([1, 0], 2, scores=[0.1, 0.9]) == pytest.approx(51 / 101 / 2)


def test_precision_is_the_mean_over_thresholds():
    assert ap([[1, 0], [1, 1]], 2) == pytest.approx((1 + 51 / 101 / 2) / 2)


def test_keypoints_are_ranked_apart():
    nan = np.nan
    similarities = np.array([[0.9, nan], [0.0, 0.0], [0.6, 0.9]])
    got = precision_by_keypoint(
        similarities, np.array([3.0, 2.0, 1.0]), np.array([2, 1]), np.array([0.5])
    )
    # First: right, wrong, right of two. Second: wrong, right of one.
    expected_first = (51 * 1.0 + 50 * 2 / 3) / 101
    np.testing.assert_allclose(got, [expected_first, 0.5])


def test_keypoint_that_nobody_has_has_no_precision():
    got = precision_by_keypoint(
        np.full((1, 1), np.nan), np.ones(1), np.array([0]), np.array([0.5])
    )
    assert got == [None]
