import numpy as np
import pytest

from logocap_jax.predictor import Poses
from logocap_jax.predictor.tracking import Tracker
from logocap_jax.skeletons import COCO

SHAPE = np.random.default_rng(0).uniform(0, 60, (17, 2)).astype(np.float32)


def people(*places):
    """People of 60 px at places `(x, y)`."""
    keypoints = np.array([SHAPE + place for place in places], np.float32)
    keypoints = keypoints.reshape(-1, 17, 2)
    scores = np.ones(len(places), np.float32)
    kinds = np.ones((len(places), 17), np.float32)
    return Poses(keypoints, kinds, scores, keypoints, COCO)


def test_ids_follow_people_whatever_their_order():
    tracker = Tracker()
    assert tracker.update(people((0, 0), (100, 0))).tolist() == [1, 2]
    assert tracker.update(people((103, 0), (3, 0))).tolist() == [2, 1]
    assert tracker.update(people((6, 0), (300, 0), (106, 2))).tolist() == [1, 3, 2]


def test_the_best_pair_comes_first_and_leaves_the_second_best_to_others():
    tracker = Tracker()
    tracker.update(people((0, 0), (9, 0)))
    # Both are most like the second person; who is nearer gets the id.
    assert tracker.update(people((7, 0), (10, 0))).tolist() == [1, 2]


def test_a_lost_person_is_remembered_for_a_while():
    tracker = Tracker(memory=2)
    tracker.update(people((0, 0)))
    for _ in range(2):
        assert tracker.update(people()).tolist() == []
    assert tracker.update(people((1, 0))).tolist() == [1]
    for _ in range(3):
        tracker.update(people())
    assert tracker.update(people((1, 0))).tolist() == [2]


def test_nobody_takes_the_id_of_somebody_far_away():
    tracker = Tracker()
    tracker.update(people((0, 0)))
    assert tracker.update(people((200, 0))).tolist() == [2]


def test_more_people_than_slots_are_followed():
    tracker = Tracker()
    places = [(100 * i, 0) for i in range(70)]
    tracker.update(people(*places))
    moved = [(x + 2, 3) for x, _ in places]
    assert tracker.update(people(*moved)).tolist() == list(range(1, 71))


def test_people_who_walk_past_each_other_keep_their_ids():
    rng = np.random.default_rng(1)
    starts, speeds = rng.uniform(0, 900, (6, 2)), rng.uniform(-4, 4, (6, 2))
    tracker = Tracker()
    kept = 0
    for frame in range(100):
        jitter = rng.normal(0, 0.5, (6, 2))
        order = rng.permutation(6)
        places = starts + frame * speeds + jitter
        found = tracker.update(people(*places[order]))
        if frame == 0:
            names = dict(zip(order.tolist(), found.tolist(), strict=True))
        kept += sum(names[p] == i for p, i in zip(order, found, strict=True))
    assert kept >= 0.95 * 600


@pytest.mark.parametrize("options", [{"memory": -1}, {"min_similarity": 0.0}])
def test_options_without_sense_are_refused(options):
    with pytest.raises(ValueError, match="expected 0 or more, and more than 0"):
        Tracker(**options)
