import dataclasses
import json

import pytest

from logocap_jax.evaluation.coco import evaluate_coco, load_ground_truth
from logocap_jax.evaluation.crowdpose import evaluate_crowdpose
from logocap_jax.evaluation.protocol import Protocol, format_table
from logocap_jax.skeletons import COCO, CROWDPOSE
from tests.evaluation.perturbed import found, labelled


@pytest.fixture
def crowdpose_path(shared_dir):
    return shared_dir / "data" / "samples" / "crowdpose" / "test_crowdpose.json"


def test_crowdpose_is_scored_and_reported_as_its_papers_do(crowdpose_path):
    truth = load_ground_truth(crowdpose_path, skeleton=CROWDPOSE)
    results = found(labelled(truth))[1:]
    protocol = Protocol(CROWDPOSE)
    metrics = protocol.evaluate(truth, results, image_ids=[106848])
    assert metrics == evaluate_crowdpose(crowdpose_path, results, image_ids=[106848])
    table = format_table({"logocap": metrics}, protocol.columns)
    head = table.splitlines()[0].split()
    assert head[1:] == ["AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard"]
    assert "easy < 0.2 <= medium < 0.8 <= hard" in protocol.note


def test_all_else_is_scored_as_coco_with_its_own_sigmas(coco_mini_dir):
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    truth = json.loads(path.read_text())
    ids = [image["id"] for image in truth["images"]]
    results = found(labelled(truth))
    for result in results:
        result["keypoints"] = [number + 2 for number in result["keypoints"]]
    strict = dataclasses.replace(
        COCO, name="strict", sigmas=(0.02,) * 17, sigmas_from="estimated from a.json"
    )
    expected = evaluate_coco(truth, results, sigmas=(0.02,) * 17)
    protocol = Protocol(strict)
    assert protocol.evaluate(truth, results, image_ids=ids) == expected
    assert expected["AP"] < evaluate_coco(truth, results)["AP"]
    assert protocol.note == "OKS sigmas: estimated from a.json"
    assert protocol.columns == ("AP", "AP50", "AP75", "APM", "APL", "AR")


def test_ground_truth_of_another_skeleton_is_refused(crowdpose_path):
    with pytest.raises(ValueError, match="annotation 123803: got no `area`"):
        load_ground_truth(crowdpose_path)
    wrong = dataclasses.replace(CROWDPOSE, name="other")
    with pytest.raises(ValueError, match="annotation 123803: got no `area`"):
        load_ground_truth(crowdpose_path, skeleton=wrong)


def test_thresholds_of_the_crowd_index_can_be_chosen(crowdpose_path):
    truth = load_ground_truth(crowdpose_path, skeleton=CROWDPOSE)
    results = found(labelled(truth))[1:]
    ids = [image["id"] for image in truth["images"]]
    protocol = Protocol(CROWDPOSE, (0.1, 0.5))
    assert protocol.evaluate(truth, results, image_ids=ids) == evaluate_crowdpose(
        crowdpose_path, results, easy_below=0.1, hard_from=0.5
    )
    assert "easy < 0.1 <= medium < 0.5 <= hard" in protocol.note


@pytest.mark.parametrize(
    ("skeleton", "thresholds", "message"),
    [
        (CROWDPOSE, (0.8, 0.1), "easy_below=0.8, hard_from=0.1"),
        (CROWDPOSE, (0.1, 8.0), "hard_from=8.0"),
        (COCO, (0.1, 0.8), "skeleton 'coco', expected them for CrowdPose only"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(skeleton, thresholds, message):
    with pytest.raises(ValueError, match=message):
        Protocol(skeleton, thresholds)
