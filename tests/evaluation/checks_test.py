import logging

import pytest

from logocap_jax.evaluation.checks import check_ground_truth, check_results

_NAN, _INF = float("nan"), float("inf")


def _truth(**changes):
    person = {
        "id": 7,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "area": 100.0,
        "bbox": [0, 0, 10, 10],
        "num_keypoints": 2,
        "keypoints": [1, 2, 2, 3, 4, 1],
    }
    person |= changes
    return {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "keypoints": ["head", "tail"]}],
        "annotations": [{k: v for k, v in person.items() if v != "absent"}],
    }


def _result(**changes):
    result = {
        "image_id": 1,
        "category_id": 1,
        "keypoints": [1.0, 2.0, 0.5, 3.0, 4.0, 0.5],
        "score": 0.5,
    }
    result |= changes
    return {k: v for k, v in result.items() if v != "absent"}


def test_sound_ground_truth_passes():
    check_ground_truth(_truth(), num_keypoints=2)


def test_crowdpose_may_count_fewer_keypoints_than_it_labels():
    check_ground_truth(_truth(num_keypoints=1), num_keypoints=2)


@pytest.mark.row("annotations")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": "absent"}, "got no `keypoints`"),
        ({"num_keypoints": "absent", "area": "absent"}, "got no `area`"),
        ({"iscrowd": "absent"}, "got no `iscrowd`"),
        ({"id": 0}, "got id 0, expected an integer but 0"),
        ({"id": "7"}, r"annotations\[0\]: got id '7'"),
        ({"id": None}, "expected an integer"),
        ({"image_id": 3}, "image_id 3"),
        ({"image_id": [1]}, r"image_id \[1\]"),
        ({"category_id": 2}, "category_id 2"),
        ({"keypoints": [1, 2, 2]}, "got 3 keypoint numbers, expected 6"),
        ({"keypoints": [_NAN, 2, 2, 3, 4, 1]}, "x=nan, expected a finite"),
        ({"keypoints": [1, 2, 3, 3, 4, 1]}, "v=3, expected visibility 0, 1 or 2"),
        ({"keypoints": None}, "got keypoints None, expected a list of numbers"),
        ({"area": _NAN}, "area nan"),
        ({"area": -1}, "area -1"),
        ({"area": None}, "area None, expected a number"),
        ({"bbox": [0, 0, -10, 10]}, "sides >= 0"),
        ({"bbox": [0, 0, 10]}, r"bbox \[0, 0, 10\]"),
        ({"iscrowd": 2}, "iscrowd 2"),
        ({"num_keypoints": -1}, "num_keypoints -1"),
        ({"num_keypoints": 2, "keypoints": [0] * 6}, "num_keypoints 2"),
    ],
)
def test_damaged_annotation_is_named(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        check_ground_truth(_truth(**changes), num_keypoints=2, source="val.json")
    assert str(error.value).startswith("val.json: ")
    assert "\n" not in str(error.value)


@pytest.mark.row("annotations")
@pytest.mark.parametrize("name", ["images", "annotations", "categories"])
def test_an_id_given_twice_is_an_error(name):
    truth = _truth()
    truth[name] = [*truth[name], {**truth[name][0], "keypoints": []}]
    with pytest.raises(ValueError, match=r"this id 2 times, expected"):
        check_ground_truth(truth, num_keypoints=2)


@pytest.mark.row("annotations")
@pytest.mark.parametrize("name", ["images", "annotations", "categories"])
@pytest.mark.parametrize("records", [None, {}, "text", [None], [1]])
def test_lists_must_be_lists_of_objects(name, records):
    with pytest.raises(ValueError, match=name):
        check_ground_truth(_truth() | {name: records}, num_keypoints=2)


@pytest.mark.row("annotations")
@pytest.mark.parametrize("truth", [None, [], "text", 1])
def test_ground_truth_must_be_an_object(truth):
    with pytest.raises(ValueError, match="expected COCO-style JSON"):
        check_ground_truth(truth, num_keypoints=2)


def test_area_zero_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        check_ground_truth(_truth(area=0), num_keypoints=2)
    assert "annotation 7" in caplog.text


def test_sound_results_pass():
    check_results([_result(), _result(image_id=2)], _truth(), num_keypoints=2)
    check_results([], _truth(), num_keypoints=2)


@pytest.mark.row("results")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": "absent"}, "lacks keypoints"),
        ({"score": "absent"}, "lacks score"),
        ({"image_id": "absent"}, "lacks image_id"),
        ({"category_id": "absent"}, "lacks category_id"),
        ({"image_id": 3}, "image_id 3"),
        ({"image_id": "1"}, r"image_id '1' \(str\)"),
        ({"image_id": True}, r"image_id True \(bool\)"),
        ({"image_id": 1.0}, r"image_id 1.0 \(float\)"),
        ({"image_id": {}}, "image_id {}"),
        ({"category_id": 2}, "category_id 2"),
        ({"score": "0.5"}, r"score '0.5' \(str\)"),
        ({"score": None}, "score None"),
        ({"score": True}, "score True"),
        ({"score": _NAN}, "score nan"),
        ({"score": _INF}, "score inf"),
        ({"score": 10**400}, "score 1000"),
        ({"keypoints": [1.0] * 3}, "list of 3 .*expected 6 finite"),
        ({"keypoints": [1.0] * 5}, "list of 5 .*expected 6 finite"),
        ({"keypoints": [1.0] * 9}, "list of 9 .*expected 6 finite"),
        ({"keypoints": [1.0] * 50}, "list of 50 .*expected 6 finite"),
        ({"keypoints": []}, "list of 0 .*expected 6 finite"),
        ({"keypoints": [_NAN] * 6}, "expected 6 finite"),
        ({"keypoints": [_INF] + [1.0] * 5}, "expected 6 finite"),
        ({"keypoints": ["1"] * 6}, "expected 6 finite"),
        ({"keypoints": [None] * 6}, "expected 6 finite"),
        ({"keypoints": [[1.0]] * 6}, "expected 6 finite"),
        ({"keypoints": "123456"}, "expected 6 finite"),
        ({"keypoints": {}}, "expected 6 finite"),
    ],
)
def test_hostile_result_is_named(changes, message):
    results = [_result(), _result(**changes)]
    with pytest.raises(ValueError, match=message) as error:
        check_results(results, _truth(), num_keypoints=2, source="results.json")
    assert str(error.value).startswith("results.json: result 1: ")
    assert "\n" not in str(error.value)


@pytest.mark.row("results")
@pytest.mark.parametrize("results", [None, {}, "text", 1])
def test_results_must_be_a_list(results):
    with pytest.raises(ValueError, match="expected a list of results"):
        check_results(results, _truth(), num_keypoints=2)


@pytest.mark.row("results")
@pytest.mark.parametrize("result", [None, [], "text", 1])
def test_a_result_must_be_an_object(result):
    with pytest.raises(ValueError, match=r"result 0: .*expected an object"):
        check_results([result], _truth(), num_keypoints=2)
