import json
import logging

import numpy as np
import pytest

from logocap_jax import evaluation, skeletons
from logocap_jax.evaluation.crowdpose import METRICS, evaluate_crowdpose
from logocap_jax.evaluation.protocol import Protocol
from tests.evaluation.perturbed import PERTURBATIONS, found, labelled


@pytest.fixture(scope="module")
def sample(shared_dir):
    path = shared_dir / "data" / "samples" / "crowdpose" / "test_crowdpose.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def truth(sample):
    """The sample's two images 12 times, of all crowd indices."""
    images, people = [], []
    for copy in range(12):
        for image in sample["images"]:
            number = {"id": image["id"] * 100 + copy}
            images.append({**image, **number, "crowdIndex": len(images) / 23})
        for person in sample["annotations"]:
            numbers = {"image_id": person["image_id"] * 100 + copy}
            people.append({**person, **numbers, "id": len(people) + 1})
    return {**sample, "images": images, "annotations": people}


def _faster_coco_eval(tmp_path, truth, results):
    reason = "faster-coco-eval is not installed; it comes with the extra 'dev'"
    faster = pytest.importorskip("faster_coco_eval", reason=reason)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    annotations = faster.COCO(str(tmp_path / "truth.json"))
    scoring = faster.COCOeval_faster(
        annotations,
        annotations.loadRes(results),
        "keypoints_crowd",
        kpt_oks_sigmas=list(skeletons.CROWDPOSE.sigmas),
        use_area=False,
        print_function=lambda *_: None,
    )
    scoring.evaluate()
    scoring.accumulate()
    scoring.summarize()
    return scoring.all_stats


@pytest.mark.parametrize("perturb", PERTURBATIONS.values(), ids=PERTURBATIONS)
def test_metrics_equal_those_of_faster_coco_eval(truth, tmp_path, perturb):
    results = perturb(
        labelled(truth), skeletons.CROWDPOSE.sigmas, np.random.default_rng(0)
    )
    metrics = evaluate_crowdpose(truth, results)
    assert list(metrics) == list(METRICS)
    expected = _faster_coco_eval(tmp_path, truth, results)
    np.testing.assert_allclose(list(metrics.values()), expected, rtol=0, atol=1e-6)


def test_the_sample_itself_scores_one(sample):
    metrics = evaluation.evaluate_crowdpose(sample, found(labelled(sample)))
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AP_medium"] == 1.0
    # Its two images have the crowd indices 0.33 and 0.39.
    assert metrics["AP_easy"] is None
    assert metrics["AP_hard"] is None


@pytest.mark.parametrize(
    ("easy_below", "hard_from", "name"),
    [(0.2, 0.35, "AP_hard"), (0.35, 0.8, "AP_easy"), (0.39, 0.39, "AP_hard")],
)
def test_thresholds_of_the_crowd_index_can_be_chosen(
    sample, easy_below, hard_from, name
):
    """Only the image of crowd index 0.39 has its people found."""
    image = next(i["id"] for i in sample["images"] if i["crowdIndex"] == 0.39)
    people = [p for p in labelled(sample) if p["image_id"] == image]
    metrics = evaluate_crowdpose(
        sample, found(people), easy_below=easy_below, hard_from=hard_from
    )
    assert metrics[name] == (1.0 if name == "AP_hard" else 0.0)


def test_output_can_say_what_easy_medium_and_hard_are():
    note = Protocol(skeletons.CROWDPOSE).note
    assert note.endswith("; crowd index: easy < 0.2 <= medium < 0.8 <= hard")


def test_area_is_53_percent_of_the_box(sample):
    person = labelled(sample)[0]
    only = {**sample, "annotations": [{**person, "area": 1.0}]}
    (result,) = found([person])
    _, _, width, height = person["bbox"]
    # An OKS of 0.72 for each keypoint: exp(-d^2 / (2 (2 sigma)^2 area)).
    factor = np.sqrt(-2 * np.log(0.72) * 0.53 * width * height)
    triplets = np.reshape(result["keypoints"], (14, 3)).astype(float)
    triplets[:, 0] += factor * 2 * np.asarray(skeletons.CROWDPOSE.sigmas)
    result["keypoints"] = triplets.ravel().tolist()
    metrics = evaluate_crowdpose(only, [result])
    assert metrics["AR"] == pytest.approx(0.5)  # Passes 0.5, 0.55 ... 0.7 of ten.


def test_no_results_score_zero_with_a_warning(sample, caplog):
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_crowdpose(sample, [])
    assert metrics["AP"] == metrics["AR"] == metrics["AP_medium"] == 0.0
    assert "no poses" in caplog.text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t["images"][0].pop("crowdIndex"), "106848: got crowdIndex None"),
        (lambda t: t["images"][1].update(crowdIndex=1.5), "103319: got crowdIndex 1.5"),
        (lambda t: t["annotations"][0].pop("bbox"), "annotation 123803: got no `bbox`"),
        (lambda t: t["annotations"][0].update(bbox="x"), "123803: got bbox 'x'"),
        (
            lambda t: t["annotations"][0].update(keypoints=[0] * 51),
            "got 51 keypoint numbers, expected 42",
        ),
        (lambda t: t.update(annotations=3), "got no list `annotations`"),
    ],
)
def test_damaged_annotations_are_named_in_one_line(sample, edit, message):
    truth = json.loads(json.dumps(sample))
    edit(truth)
    with pytest.raises(ValueError, match=message) as caught:
        evaluate_crowdpose(truth, [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limits", [(0.8, 0.2), (-0.1, 0.8), (0.2, 1.1)])
def test_thresholds_out_of_order_are_refused(sample, limits):
    with pytest.raises(ValueError, match="expected crowd indices 0 <= easy_below"):
        evaluate_crowdpose(sample, [], easy_below=limits[0], hard_from=limits[1])
