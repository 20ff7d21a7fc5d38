import contextlib
import copy
import io
import json
import logging

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from logocap_jax import skeletons
from logocap_jax.evaluation.coco import METRICS, evaluate_coco


@pytest.fixture(
    params=[
        "coco-mini/annotations/person_keypoints_val2017.json",
        "samples/ochuman/test_ochuman.json",
    ],
    ids=["coco", "ochuman"],
)
def truth_path(request, shared_dir):
    return shared_dir / "data" / request.param


@pytest.fixture
def coco_path(coco_mini_dir):
    return coco_mini_dir / "annotations" / "person_keypoints_val2017.json"


def _person(annotation_id, *, image_id=1, corner=(20.0, 30.0), side=100.0):
    offsets = np.random.default_rng(annotation_id).uniform(0, side, (17, 2))
    triplets = np.column_stack([offsets + corner, np.full(17, 2)])
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": side**2,
        "bbox": [*corner, side, side],
        "num_keypoints": 17,
        "keypoints": triplets.ravel().tolist(),
    }


def _truth(*people, num_images=2):
    return {
        "images": [{"id": index + 1} for index in range(num_images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": list(people),
    }


def _found(people, scores=None):
    return [
        {
            "image_id": person["image_id"],
            "category_id": 1,
            "keypoints": list(person["keypoints"]),
            "score": 1.0 if scores is None else float(scores[index]),
        }
        for index, person in enumerate(people)
    ]


def _labelled(truth):
    return [
        person
        for person in truth["annotations"]
        if person["num_keypoints"] > 0 and not person["iscrowd"]
    ]


def _moved(results, people, rng, *, share):
    """Move every keypoint by `share` of its OKS standard deviation."""
    sigmas = np.asarray(skeletons.COCO.sigmas)
    for result, person in zip(results, people, strict=True):
        points = np.reshape(result["keypoints"], (17, 3)).astype(float)
        scale = 2 * np.sqrt(person["area"]) * sigmas[:, None]
        points[:, :2] += rng.normal(size=(17, 2)) * scale * share
        result["keypoints"] = points.ravel().tolist()
    return results


def _perfect(people, rng):
    return _found(people, rng.uniform(size=len(people)))


def _noisy(people, rng):
    return _moved(_perfect(people, rng), people, rng, share=0.5)


def _missing(people, rng):
    return _noisy(people, rng)[::2]


def _duplicated(people, rng):
    return _noisy(people, rng) + _noisy(people, rng)


def _many_per_image(people, rng):
    return [result for _ in range(25) for result in _noisy(people, rng)]


def _pycocotools(truth_path, results):
    """pycocotools as its own example calls it, prints and all."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_path))
        scoring = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return [None if stat == -1 else stat for stat in scoring.stats]


@pytest.mark.parametrize(
    "make", [_perfect, _noisy, _missing, _duplicated, _many_per_image]
)
def test_metrics_equal_those_of_plain_pycocotools(truth_path, make):
    people = _labelled(json.loads(truth_path.read_text()))
    results = make(people, np.random.default_rng(0))
    metrics = evaluate_coco(truth_path, results)
    assert list(metrics) == list(METRICS)
    assert list(metrics.values()) == _pycocotools(truth_path, results)


def test_ground_truth_scores_one_against_itself(truth_path):
    people = _labelled(json.loads(truth_path.read_text()))
    metrics = evaluate_coco(truth_path, _found(people))
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AR"] == 1.0


def test_order_of_results_does_not_matter(coco_path):
    people = _labelled(json.loads(coco_path.read_text()))
    rng = np.random.default_rng(1)
    results = _duplicated(people, rng)
    shuffled = [results[index] for index in rng.permutation(len(results))]
    assert evaluate_coco(coco_path, results) == evaluate_coco(coco_path, shuffled)


def test_precision_falls_when_scores_no_longer_rank_good_before_bad(coco_path):
    people = _labelled(json.loads(coco_path.read_text()))
    rng = np.random.default_rng(2)
    good = _found(people, rng.uniform(0.5, 1, len(people)))
    bad = _moved(_found(people, rng.uniform(0, 0.5, len(people))), people, rng, share=9)
    ordered = evaluate_coco(coco_path, good + bad)
    scores = rng.permutation([result["score"] for result in good + bad])
    shuffled = [
        {**result, "score": float(score)}
        for result, score in zip(good + bad, scores, strict=True)
    ]
    metrics = evaluate_coco(coco_path, shuffled)
    assert metrics["AP"] < ordered["AP"] - 0.1
    assert list(metrics.values()) == _pycocotools(coco_path, shuffled)


def test_missed_person_halves_precision_and_recall():
    people = [_person(1), _person(2, image_id=2)]
    metrics = evaluate_coco(_truth(*people), _found(people[:1]))
    # Precision is 1 at the recalls 0, 0.01 ... 0.5 of COCO's 101, and 0 after.
    assert metrics["AP"] == pytest.approx(51 / 101)
    assert metrics["AR"] == 0.5


def test_only_the_20_best_poses_of_an_image_count():
    person = _person(1)
    elsewhere = _person(2, corner=(2000.0, 2000.0))
    wrong = _found([elsewhere] * 20, np.linspace(0.5, 0.9, 20))
    right = _found([person], [0.4])
    assert evaluate_coco(_truth(person), wrong[1:] + right)["AR"] == 1.0
    assert evaluate_coco(_truth(person), wrong + right)["AR"] == 0.0


def test_sizes_without_people_give_none():
    person = _person(1, side=50.0)
    metrics = evaluate_coco(_truth(person), _found([person]))
    assert metrics["APM"] == pytest.approx(1.0)
    assert metrics["ARM"] == 1.0
    assert metrics["APL"] is None
    assert metrics["ARL"] is None


def test_only_the_given_images_are_scored():
    people = [_person(1), _person(2, image_id=2)]
    results = _found(people[:1])
    metrics = evaluate_coco(_truth(*people), results, image_ids=[1])
    assert metrics["AP"] == pytest.approx(1.0)
    assert evaluate_coco(_truth(*people), results, image_ids=[2])["AP"] == 0.0


def test_given_sigmas_set_number_of_keypoints_and_tolerance():
    person = {**_person(1), "keypoints": [50, 50, 2, 90, 90, 1], "num_keypoints": 2}
    result = _found([{**person, "keypoints": [60, 50, 1, 90, 100, 1]}])
    # OKS = exp(-10^2 / (2 * 100^2 * (2 sigma)^2)) is 0.607 for sigma 0.05.
    metrics = evaluate_coco(_truth(person), result, sigmas=(0.05, 0.05))
    assert metrics["AR"] == pytest.approx(0.3)  # Passes 0.5, 0.55, 0.6 of ten.
    metrics = evaluate_coco(_truth(person), result, sigmas=(0.01, 0.01))
    assert metrics["AR"] == 0.0


def test_no_results_score_zero_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_coco(_truth(_person(1)), [])
    assert metrics["AP"] == metrics["AP50"] == metrics["APL"] == metrics["AR"] == 0.0
    assert "no poses" in caplog.text


def test_arguments_are_left_unchanged_and_nothing_is_printed(capsys):
    truth = _truth(_person(1))
    results = _found(truth["annotations"])
    before = copy.deepcopy((truth, results))
    evaluate_coco(truth, results)
    assert (truth, results) == before
    assert capsys.readouterr() == ("", "")


def test_box_of_a_result_does_not_count():
    person = _person(1)
    results = _found([person])
    expected = evaluate_coco(_truth(person), results)
    results[0]["bbox"] = [0, 0, 1, 1]
    assert evaluate_coco(_truth(person), results) == expected


def test_results_and_ground_truth_are_read_from_files(tmp_path):
    truth = _truth(_person(1))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(_found(truth["annotations"])))
    metrics = evaluate_coco(tmp_path / "truth.json", tmp_path / "results.json")
    assert metrics["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("people", "image_ids", "message"),
    [
        ([], None, "no valid ground truth"),
        ([{**_person(1), "iscrowd": 1}], None, "no valid ground truth"),
        (
            [{**_person(1), "num_keypoints": 0, "keypoints": [0] * 51}],
            None,
            "no valid ground truth",
        ),
        ([_person(1)], [2], "no valid ground truth"),
        ([_person(1)], [1, 99], "image id 99"),
    ],
    ids=["none", "crowd", "unlabelled", "other-image", "unknown-image"],
)
def test_nobody_to_find_is_an_error(people, image_ids, message):
    with pytest.raises(ValueError, match=message):
        evaluate_coco(_truth(*people), _found([_person(1)]), image_ids=image_ids)
