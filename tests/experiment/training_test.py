import copy
import json
import re
import shutil

import jax
import numpy as np
import pytest

from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.experiment.evaluation import score
from logocap_jax.skeletons import COCO
from logocap_jax.training.errors import DataError, DivergedError, MismatchError
from tests.runs import restore_last, train_from_config


def metrics(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_logs_each_step_and_each_evaluation(finished_run):
    lines = metrics(finished_run.workdir)
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4]
    losses = [line for line in lines if "loss/total" in line]
    for line in losses:
        terms = [
            line[f"loss/{name}"] for name in ("heatmap", "offset", "kam", "refined")
        ]
        assert line["loss/total"] == pytest.approx(sum(terms), rel=1e-5)
        assert line["loss/heatmap"] > 0
    # The rate falls after 1.5 epochs, which are three steps.
    np.testing.assert_allclose([line["lr"] for line in losses], [1e-3] * 3 + [1e-4])
    for line in lines[2::3]:
        for name in ("initial", "logocap", "bound"):
            assert 0 <= line[f"eval/{name}/AP"] <= 1


def test_a_run_says_what_it_does(finished_run):
    assert re.match(
        r"[\d,]+ parameters, 18 images, 8 devices; from step 0 of 4$",
        finished_run.log[0],
    )
    assert finished_run.log[1].startswith("step 1/4  epoch 0.5  loss ")
    assert finished_run.log[3].startswith(
        "evaluation on val; OKS sigmas: pycocotools\nposes "
    )


def test_a_second_epoch_and_a_second_evaluation_compile_nothing(finished_run):
    lines = [
        (line.split("  ")[0].split(";")[0], count)
        for line, count in zip(finished_run.log, finished_run.compilations, strict=True)
        if line.startswith(("step", "evaluation"))
    ]
    first, second = lines[:3], lines[3:]
    assert [line for line, _ in first] == ["step 1/4", "step 2/4", "evaluation on val"]
    assert [line for line, _ in second] == ["step 3/4", "step 4/4", "evaluation on val"]
    (_, after_step), _, (_, after_evaluation) = first
    assert 0 < after_step < after_evaluation  # so it does count
    assert {count for _, count in second} == {after_evaluation}


@pytest.mark.row("R13")
def test_a_run_of_another_architecture_is_refused(finished_run, config):
    config.method.heatmap_hidden = 8
    with pytest.raises(MismatchError, match="was made with") as caught:
        train_from_config(config, finished_run.workdir)
    message = str(caught.value)
    assert "heatmap_hidden=4 (config: 8); use its settings" in message
    assert "\n" not in message


@pytest.mark.row("configs")
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "batch_size",
            12,
            "got batch_size=12, which 8 devices do not divide; try 16",
        ),
        ("eval.batch_size", 9, "got eval.batch_size=9, which 8 devices"),
        ("data.dir", "", "got no data folder; set --config.data.dir=DIR"),
        ("data.dir", "nowhere", "nowhere: got neither a prepared data set nor COCO's"),
        ("data.train_split", "all", "got split 'all', expected one of"),
        ("data.eval_split", "all", "got split 'all', expected one of"),
        ("log_every", 0, "got log_every=0, expected more than 0"),
        ("epochs", 0.0, "got epochs=0.0, expected more than 0"),
        ("max_skipped_in_row", 0, "got max_skipped_in_row=0, expected more than 0"),
        (
            "method.name",
            "openpose",
            "got method 'openpose', expected one of ['center_offset'",
        ),
    ],
)
def test_bad_settings_end_in_one_line_before_anything_is_written(
    config, tmp_path, key, value, expected
):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        train_from_config(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.row("configs")
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.max_people", 0, "got max_people=0, expected 1 to 10000"),
        ("data.input_size", 100, "got input_size=100, expected a multiple of 32"),
        ("seed", -1, "got seed=-1, expected >= 0"),
        ("init_from", "absent.pth", "absent.pth: no such weights"),
    ],
)
def test_bad_settings_of_the_data_end_in_one_line(
    config, tmp_path, key, value, expected
):
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        train_from_config(config, tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.row("annotations")
def test_annotations_that_cannot_be_scored_are_found_before_training(
    config, drawn_dir, tmp_path
):
    shutil.copytree(drawn_dir, tmp_path / "data")
    path = tmp_path / "data/annotations/person_keypoints_val2017.json"
    content = json.loads(path.read_text())
    for person in content["annotations"]:
        person["iscrowd"] = 1
    path.write_text(json.dumps(content))
    config.data.dir = str(tmp_path / "data")
    with pytest.raises(DataError, match=r"val2017\.json: no valid ground truth"):
        train_from_config(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.row("images")
def test_an_image_that_turns_unreadable_is_a_fault_of_the_data(
    quick_config, drawn_dir, tmp_path
):
    config = copy.deepcopy(quick_config)
    shutil.copytree(drawn_dir, tmp_path / "data")
    for path in (tmp_path / "data").rglob("train2017/*"):
        path.write_bytes(path.read_bytes()[:100])
    config.data.dir = str(tmp_path / "data")
    with pytest.raises(DataError, match="truncated or damaged JPEG") as caught:
        train_from_config(config, tmp_path / "run")
    assert caught.value.exit_code == 4


@pytest.mark.row("R17")
def test_losses_that_are_not_finite_end_the_run_and_are_never_saved(
    quick_config, tmp_path
):
    config = copy.deepcopy(quick_config)
    config.learning_rate = 1e30
    config.max_skipped_in_row = 2
    with pytest.raises(DivergedError, match=r"step \d: got losses or gradients"):
        train_from_config(config, tmp_path)
    state = restore_last(config, tmp_path)
    assert int(state.skipped_in_row) == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_the_category_of_people_may_have_any_id(tmp_path, drawn_dir):
    path = drawn_dir / "annotations/person_keypoints_val2017.json"
    truth = json.loads(path.read_text())
    truth["categories"] = [
        {"id": 1, "name": "dog"},
        *(category | {"id": 2} for category in truth["categories"]),
    ]
    people = [a for a in truth["annotations"] if a["num_keypoints"]]
    for person in truth["annotations"]:
        person["category_id"] = 2
    images = [
        ImagePoses(
            image_id=image["id"],
            keypoints=found[..., :2],
            keypoint_scores=found[..., 2],
            scores=np.ones(len(found), np.float32),
        )
        for image in truth["images"]
        for found in [
            np.array(
                [p["keypoints"] for p in people if p["image_id"] == image["id"]],
                np.float32,
            ).reshape(-1, 17, 3)
        ]
    ]
    rows = score(truth, {"logocap": images}, Protocol(COCO))
    assert rows["logocap"]["AP"] > 0.99


@pytest.mark.row("configs")
def test_unknown_settings_of_a_method_list_those_that_are_known(config, tmp_path):
    with config.unlocked():
        config.method.heatmap_sgima = 2.0
    with pytest.raises(ValueError, match="got unknown settings") as caught:
        train_from_config(config, tmp_path / "run")
    assert "'heatmap_sgima'" in str(caught.value)
    assert "'heatmap_sigma'" in str(caught.value)
