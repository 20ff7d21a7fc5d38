import json

import numpy as np
import pytest

from logocap_jax.evaluation.coco import evaluate_coco
from logocap_jax.evaluation.error_report import format_reports, report_errors
from logocap_jax.skeletons import COCO
from tests.evaluation.perturbed import PERTURBATIONS, found, labelled


@pytest.fixture(scope="module")
def truth(coco_mini_dir):
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    return json.loads(path.read_text())


def report(truth, results, **changes):
    image_ids = [image["id"] for image in truth["images"]]
    return report_errors(truth, results, COCO, image_ids=image_ids, **changes)


def total(kinds, kind):
    return sum(counts[kind] for counts in kinds.values())


def test_truth_itself_has_no_errors(truth):
    people = labelled(truth)
    got = report(truth, found(people))
    assert got.ap == pytest.approx(1.0)
    assert set(got.by_keypoint.values()) == {1.0}
    assert got.by_size["<32"] is None  # COCO labels no keypoints of such
    assert got.by_size["96-128"] == pytest.approx(1.0)
    assert [got.by_people[name] for name in ("1", "2", "3-5", ">5")] == [
        pytest.approx(1.0)
    ] * 4
    assert (got.people, got.people_missed) == (len(people), 0)
    assert (got.poses, got.poses_unmatched) == (len(people), 0)
    num_labels = sum(sum(v > 0 for v in p["keypoints"][2::3]) for p in people)
    assert total(got.kinds, "good") == num_labels
    assert got.shares() == {
        "good": 1.0,
        "jitter": 0.0,
        "inversion": 0.0,
        "swap": 0.0,
        "miss": 0.0,
    }


@pytest.mark.parametrize("name", ["noisy", "missing", "duplicated", "many per image"])
def test_ap_is_that_of_the_score(truth, name):
    results = PERTURBATIONS[name](
        labelled(truth), COCO.sigmas, np.random.default_rng(0)
    )
    got = report(truth, results)
    assert got.ap == evaluate_coco(truth, results)["AP"]
    assert got.poses - got.poses_unmatched == got.people - got.people_missed


def test_people_without_a_pose_and_poses_of_nobody_are_counted(truth):
    people = labelled(truth)
    far = [{**person, "keypoints": [9e4, 9e4, 1] * 17} for person in people[:3]]
    got = report(truth, found(people[5:] + far))
    assert got.people_missed == 5
    assert got.poses_unmatched == 3
    assert total(got.kinds, "miss") == 0, "poses of nobody say nothing of keypoints"


def test_poses_turned_left_to_right_are_inversions(truth):
    people = labelled(truth)
    results = found(people)
    for result in results:
        triplets = np.reshape(result["keypoints"], (17, 3))[COCO.flip_index]
        result["keypoints"] = triplets.ravel().tolist()
    # The paired keypoint is looked for in any position, also by those far apart.
    got = report(truth, results, match_from=1e-9)
    assert got.shares()["inversion"] > 0.5
    assert got.kinds["nose"]["inversion"] == 0
    assert total(got.kinds, "swap") <= 0.1 * total(got.kinds, "inversion")


def test_keypoint_that_is_off_loses_its_ap_alone(truth):
    results = found(labelled(truth))
    for result in results:
        result["keypoints"][3 * 9] += 1e4  # the left wrist
    got = report(truth, results)
    assert got.by_keypoint.pop("left_wrist") == 0.0
    # Of a few people hardly more than the wrist is labelled: their poses are nobody's.
    assert min(got.by_keypoint.values()) > 0.98
    assert got.kinds["left_wrist"]["good"] == 0


def test_crowds_and_unlabelled_people_do_not_count(truth):
    assert any(person["iscrowd"] for person in truth["annotations"])
    crowd = next(p for p in truth["annotations"] if p["iscrowd"])
    x, y, width, height = crowd["bbox"]
    inside = {
        "image_id": crowd["image_id"],
        "category_id": 1,
        "keypoints": [x + width / 2, y + height / 2, 1.0] * 17,
        "score": 0.5,
    }
    got = report(truth, [*found(labelled(truth)), inside])
    assert got.poses_unmatched == 0


def test_damaged_results_are_named(truth):
    (result, *_) = found(labelled(truth))
    result["keypoints"][0] = float("nan")
    with pytest.raises(ValueError, match="result 0: image "):
        report(truth, [result])


def test_no_results_have_no_shares(truth):
    got = report(truth, [])
    assert got.ap == 0.0
    assert set(got.shares().values()) == {None}
    assert set(got.by_keypoint.values()) == {0.0}


def test_table_has_sets_side_by_side(truth):
    people = labelled(truth)
    rng = np.random.default_rng(0)
    reports = {
        "initial": report(truth, PERTURBATIONS["noisy"](people, COCO.sigmas, rng)),
        "logocap": report(truth, found(people)),
    }
    lines = format_reports(reports).splitlines()
    assert lines[0].split() == ["initial", "logocap"]
    assert lines[1].split()[0] == "AP"
    assert lines[1].split()[2] == "100.0"
    rows = {words[0]: words[1:] for line in lines if (words := line.split())}
    for name in COCO.keypoints:
        assert len(rows[name]) == 2 * 5
        assert rows[name][5:] == ["100.0", "0.0", "0.0", "0.0", "0.0"]
    assert max(map(len, lines)) <= 130
