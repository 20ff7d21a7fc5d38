import contextlib
import copy
import io
import json
import logging
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from logocap_jax import evaluation, skeletons
from logocap_jax.evaluation.coco import METRICS, evaluate_coco
from tests.evaluation.perturbed import PERTURBATIONS, found, labelled, moved


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
        "categories": [{"id": 1, "keypoints": list(skeletons.COCO.keypoints)}],
        "annotations": list(people),
    }


def _pycocotools(truth_path, results):
    """pycocotools as its own example calls it, prints and all."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_path))
        scoring = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return [None if stat == -1 else stat for stat in scoring.stats]


@pytest.mark.parametrize("perturb", PERTURBATIONS.values(), ids=PERTURBATIONS)
def test_metrics_equal_those_of_plain_pycocotools(truth_path, perturb):
    people = labelled(json.loads(truth_path.read_text()))
    results = perturb(people, skeletons.COCO.sigmas, np.random.default_rng(0))
    metrics = evaluate_coco(truth_path, results)
    assert list(metrics) == list(METRICS)
    assert list(metrics.values()) == _pycocotools(truth_path, results)


@pytest.mark.parametrize("perturb", PERTURBATIONS.values(), ids=PERTURBATIONS)
def test_faster_evaluator_gives_the_same_numbers(truth_path, perturb):
    reason = "faster-coco-eval is not installed; it comes with the extra 'dev'"
    pytest.importorskip("faster_coco_eval", reason=reason)
    people = labelled(json.loads(truth_path.read_text()))
    results = perturb(people, skeletons.COCO.sigmas, np.random.default_rng(0))
    faster = evaluate_coco(truth_path, results, evaluator="faster-coco-eval")
    assert faster == evaluate_coco(truth_path, results)


def test_evaluator_that_is_not_there_is_refused(monkeypatch):
    truth = _truth(_person(1))
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match="pip install faster-coco-eval"):
        evaluate_coco(truth, [], evaluator="faster-coco-eval")


def test_ground_truth_scores_one_against_itself(truth_path):
    people = labelled(json.loads(truth_path.read_text()))
    metrics = evaluate_coco(truth_path, found(people))
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AR"] == 1.0


def test_order_of_results_does_not_matter(coco_path):
    people = labelled(json.loads(coco_path.read_text()))
    rng = np.random.default_rng(1)
    results = PERTURBATIONS["duplicated"](people, skeletons.COCO.sigmas, rng)
    shuffled = [results[index] for index in rng.permutation(len(results))]
    assert evaluate_coco(coco_path, results) == evaluate_coco(coco_path, shuffled)


def test_precision_falls_when_scores_no_longer_rank_good_before_bad(coco_path):
    people = labelled(json.loads(coco_path.read_text()))
    rng = np.random.default_rng(2)
    good = found(people, rng.uniform(0.5, 1, len(people)))
    bad = found(people, rng.uniform(0, 0.5, len(people)))
    bad = moved(bad, people, skeletons.COCO.sigmas, rng, share=9)
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
    metrics = evaluate_coco(_truth(*people), found(people[:1]))
    # Precision is 1 at the recalls 0, 0.01 ... 0.5 of COCO's 101, and 0 after.
    assert metrics["AP"] == pytest.approx(51 / 101)
    assert metrics["AR"] == 0.5


@pytest.mark.row("results")
def test_only_the_20_best_poses_of_an_image_count():
    person = _person(1)
    elsewhere = _person(2, corner=(2000.0, 2000.0))
    wrong = found([elsewhere] * 20, np.linspace(0.5, 0.9, 20))
    right = found([person], [0.4])
    assert evaluate_coco(_truth(person), wrong[1:] + right)["AR"] == 1.0
    assert evaluate_coco(_truth(person), wrong + right)["AR"] == 0.0


def test_sizes_without_people_give_none():
    person = _person(1, side=50.0)
    metrics = evaluate_coco(_truth(person), found([person]))
    assert metrics["APM"] == pytest.approx(1.0)
    assert metrics["ARM"] == 1.0
    assert metrics["APL"] is None
    assert metrics["ARL"] is None


def test_only_the_given_images_are_scored():
    people = [_person(1), _person(2, image_id=2)]
    results = found(people[:1])
    metrics = evaluate_coco(_truth(*people), results, image_ids=[1])
    assert metrics["AP"] == pytest.approx(1.0)
    assert evaluate_coco(_truth(*people), results, image_ids=[2])["AP"] == 0.0


def test_given_sigmas_set_number_of_keypoints_and_tolerance():
    person = {**_person(1), "keypoints": [50, 50, 2, 90, 90, 1], "num_keypoints": 2}
    result = found([{**person, "keypoints": [60, 50, 1, 90, 100, 1]}])
    # OKS = exp(-10^2 / (2 * 100^2 * (2 sigma)^2)) is 0.607 for sigma 0.05.
    metrics = evaluate_coco(_truth(person), result, sigmas=(0.05, 0.05))
    assert metrics["AR"] == pytest.approx(0.3)  # Passes 0.5, 0.55, 0.6 of ten.
    metrics = evaluate_coco(_truth(person), result, sigmas=(0.01, 0.01))
    assert metrics["AR"] == 0.0


@pytest.mark.row("results")
def test_no_results_score_zero_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_coco(_truth(_person(1)), [])
    assert metrics["AP"] == metrics["AP50"] == metrics["APL"] == metrics["AR"] == 0.0
    assert "no poses" in caplog.text


def test_a_file_without_results_is_an_error(tmp_path):
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ValueError, match=r"results.json: got a file without any") as e:
        evaluate_coco(_truth(_person(1)), tmp_path / "results.json")
    assert "\n" not in str(e.value)


def test_arguments_are_left_unchanged_and_nothing_is_printed(capsys):
    truth = _truth(_person(1))
    results = found(truth["annotations"])
    before = copy.deepcopy((truth, results))
    evaluate_coco(truth, results)
    assert (truth, results) == before
    assert capsys.readouterr() == ("", "")


def test_box_of_a_result_does_not_count():
    person = _person(1)
    results = found([person])
    expected = evaluate_coco(_truth(person), results)
    results[0]["bbox"] = [0, 0, 1, 1]
    assert evaluate_coco(_truth(person), results) == expected


@pytest.mark.parametrize("as_path", [lambda path: path, str], ids=["path", "text"])
def test_results_and_ground_truth_are_read_from_files(tmp_path, as_path):
    truth = _truth(_person(1))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(found(truth["annotations"])))
    metrics = evaluation.evaluate_coco(
        as_path(tmp_path / "truth.json"), as_path(tmp_path / "results.json")
    )
    assert metrics["AP"] == pytest.approx(1.0)


def _without_area(truth, results):
    del truth["annotations"][3]["area"]


def _zero_id(truth, results):
    truth["annotations"][3]["id"] = 0


def _same_id_twice(truth, results):
    truth["annotations"][3]["id"] = truth["annotations"][2]["id"]


def _unknown_image(truth, results):
    results[2]["image_id"] = 10**9


def _string_image(truth, results):
    results[2]["image_id"] = str(results[2]["image_id"])


def _many_keypoints(truth, results):
    results[2]["keypoints"].append(1.0)


def _fifty_numbers(truth, results):
    del results[2]["keypoints"][-1]


def _all_nan(truth, results):
    for result in results:
        result["keypoints"] = [float("nan")] * 51


def _nan_keypoint(truth, results):
    results[2]["keypoints"][0] = float("nan")


def _nan_score(truth, results):
    results[2]["score"] = float("nan")


@pytest.mark.row("results")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_without_area, r"truth.json: annotation \d+: got no `area`"),
        (_zero_id, "truth.json: annotation 0: got id 0"),
        (_same_id_twice, r"truth.json: annotation \d+: got this id 2 times"),
        (_unknown_image, "results.json: result 2: got image_id 1000000000"),
        (_string_image, r"results.json: result 2: got image_id '\d+' \(str\)"),
        (
            _many_keypoints,
            "results.json: result 2: image .* got keypoints a list of 52",
        ),
        (_fifty_numbers, "results.json: result 2: .* got keypoints a list of 50"),
        (_all_nan, "results.json: result 0: image .* got keypoints a list of 51"),
        (_nan_keypoint, "results.json: result 2: image .* got keypoints a list of 51"),
        (_nan_score, "results.json: result 2: got score nan"),
    ],
)
def test_what_pycocotools_scores_wrongly_is_named_in_one_line(
    coco_path, tmp_path, edit, message
):
    truth = json.loads(coco_path.read_text())
    results = found(labelled(truth))
    edit(truth, results)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=message) as caught:
        evaluate_coco(tmp_path / "truth.json", tmp_path / "results.json")
    assert "\n" not in str(caught.value)


@pytest.mark.row("results")
def test_results_of_another_split_are_refused(coco_mini_dir, coco_path):
    other = coco_mini_dir / "annotations" / "person_keypoints_train2017.json"
    results = found(labelled(json.loads(other.read_text())))
    with pytest.raises(
        ValueError, match=r"result 0: got image_id \d+ .*expected an id"
    ):
        evaluate_coco(coco_path, results)


@pytest.mark.row("results")
@pytest.mark.parametrize("content", ["", "[{", "{}"], ids=["empty", "cut", "object"])
def test_result_file_that_is_none_is_named(coco_path, tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results.json: ") as caught:
        evaluate_coco(coco_path, tmp_path / "results.json")
    assert "\n" not in str(caught.value)


@pytest.mark.row("results")
@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
@pytest.mark.parametrize("field", ["score", "keypoints"])
def test_numbers_that_json_should_not_hold_are_refused(tmp_path, field, number):
    (result,) = found([_person(1)])
    result[field] = "here" if field == "score" else ["here", *result[field][1:]]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result]).replace('"here"', number))
    with pytest.raises(ValueError, match=r"results.json: result 0: .*finite"):
        evaluate_coco(_truth(_person(1)), path)


@pytest.mark.row("results")
def test_of_a_key_given_twice_the_last_counts_as_in_all_json(tmp_path):
    (result,) = found([_person(1)])
    text = json.dumps([result]).replace('"score"', '"image_id": 2, "score"')
    path = tmp_path / "results.json"
    path.write_text(text)
    assert evaluate_coco(_truth(_person(1)), path)["AP"] == 0.0


@pytest.mark.row("results")
def test_poses_given_three_times_cost_precision():
    people = [_person(1), _person(2, image_id=2)]
    metrics = evaluate_coco(_truth(*people), found(people) * 3)
    # Right, wrong, wrong, right: precision 1 up to recall 0.5, then 1/2.
    assert metrics["AP"] == pytest.approx((51 + 50 / 2) / 101)


@pytest.mark.row("annotations")
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
        evaluate_coco(_truth(*people), found([_person(1)]), image_ids=image_ids)
