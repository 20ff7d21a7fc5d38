import copy
import json
import logging
import zipfile

import cv2
import jax
import pytest
from pycocotools.coco import COCO

from data_pipeline.prepare.dataset import prepare_coco
from logocap_jax import skeletons
from logocap_jax.evaluation.coco import METRICS, evaluate_coco
from logocap_jax.experiment import run
from logocap_jax.experiment.evaluation import submit_test_dev
from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.settings import change_method
from logocap_jax.sharding import make_mesh
from logocap_jax.weights.files import save_safetensors, save_variables
from tests.runs import evaluate_from_config, train_from_config

pytestmark = pytest.mark.usefixtures("one_device")


def evaluate(config, out, *, workdir=None, weights=None, **changes):
    settings = {"split": "val"} | changes
    evaluate_from_config(config, workdir=workdir, weights=weights, out=out, **settings)
    return json.loads((out / "metrics.json").read_text())


def assert_metrics(rows, *names):
    assert rows.keys() == set(names)
    for row in rows.values():
        assert row.keys() == set(METRICS)
        for value in row.values():
            assert value is None or 0 <= value <= 1


@pytest.fixture
def quick_variables(quick_config):
    """Fresh ones of the quick method."""
    return jax.device_get(resolve(quick_config).fresh_state().variables)


@pytest.fixture
def variables(config):
    """Fresh ones: their poses are nonsense, but there are some."""
    return jax.device_get(resolve(config).fresh_state().variables)


def test_a_run_becomes_numbers_results_overlays_and_curves(
    finished_run, config, drawn_dir, tmp_path
):
    rows = evaluate(config, tmp_path, workdir=finished_run.workdir, num_drawn=3)
    assert_metrics(rows, "initial", "logocap", "bound")
    truth = COCO(str(drawn_dir / "annotations/person_keypoints_val2017.json"))
    for name in rows:
        path = tmp_path / f"results_{name}.json"
        results = json.loads(path.read_text())
        assert results, "a net of a few steps still finds something"
        assert len(truth.loadRes(str(path)).getAnnIds()) == len(results)
        assert {len(result["keypoints"]) for result in results} == {51}
    overlays = sorted((tmp_path / "overlays").iterdir())
    assert [path.name for path in overlays] == [
        f"{image_id:012d}.png" for image_id in sorted(truth.getImgIds())[:3]
    ]
    for path in (*overlays, tmp_path / "loss_curve.png"):
        assert cv2.imread(str(path)) is not None
    assert cv2.imread(str(overlays[0])).shape[:2] >= (96, 96)


def test_evaluating_again_gives_the_same_files(quick_run, quick_config, tmp_path):
    config = copy.deepcopy(quick_config)
    for name in ("one", "two"):
        evaluate(config, tmp_path / name, workdir=quick_run)
    for path in (tmp_path / "one").glob("*.json"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_run_may_be_evaluated_with_the_flip_test(finished_run, config, tmp_path):
    config.method.flip_test = True
    rows = evaluate(config, tmp_path, workdir=finished_run.workdir)
    assert_metrics(rows, "initial", "logocap", "bound")


def test_a_run_may_be_evaluated_at_several_scales(finished_run, config, tmp_path):
    alone = evaluate(config, tmp_path / "one", workdir=finished_run.workdir)
    config.method.test_scales = (0.5, 1.0, 2.0)
    rows = evaluate(config, tmp_path / "three", workdir=finished_run.workdir)
    assert_metrics(rows, "initial", "logocap", "bound")
    results = [
        (tmp_path / name / "results_initial.json").read_text()
        for name in ("one", "three")
    ]
    assert results[0] != results[1]
    assert rows.keys() == alone.keys()


@pytest.mark.parametrize("save", [save_safetensors, save_variables])
def test_weights_are_evaluated_as_they_are(
    quick_config, quick_variables, tmp_path, save
):
    config = copy.deepcopy(quick_config)
    save(tmp_path / "weights.safetensors", quick_variables)
    rows = evaluate(config, tmp_path / "out", weights=tmp_path / "weights.safetensors")
    assert_metrics(rows, "peaks")
    assert not (tmp_path / "out" / "loss_curve.png").exists()
    assert not (tmp_path / "out" / "overlays").exists()


def test_analysis_says_of_both_sets_where_they_are_wrong(
    finished_run, config, tmp_path, caplog
):
    with caplog.at_level(logging.INFO):
        evaluate(config, tmp_path, workdir=finished_run.workdir, analyse=True)
    assert "AP by people in the image" in caplog.text
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors.keys() == {"initial", "logocap"}
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name, report in errors.items():
        assert report["ap"] == metrics[name]["AP"]
        assert report["by_keypoint"].keys() == set(skeletons.COCO.keypoints)
    assert cv2.imread(str(tmp_path / "errors.png")) is not None


def test_images_without_people_can_be_left_out_of_the_score(
    quick_run, quick_config, drawn_dir, tmp_path
):
    """On a copy of the data in which nobody of all but one image is labelled."""
    config = copy.deepcopy(quick_config)
    data = tmp_path / "data"
    (data / "annotations").mkdir(parents=True)
    (data / "val2017").symlink_to(drawn_dir / "val2017")
    name = "annotations/person_keypoints_val2017.json"
    truth = json.loads((drawn_dir / name).read_text())
    kept = truth["annotations"][0]["image_id"]
    truth["annotations"] = [
        person for person in truth["annotations"] if person["image_id"] == kept
    ]
    (data / name).write_text(json.dumps(truth))
    config.data.dir = str(data)
    evaluate(config, tmp_path / "all", workdir=quick_run)
    rows = evaluate(config, tmp_path / "some", workdir=quick_run, people_only=True)
    for set_name, row in rows.items():
        results = json.loads((tmp_path / f"all/results_{set_name}.json").read_text())
        assert row == evaluate_coco(truth, results, image_ids=[kept])


def test_test_dev_becomes_what_cocos_server_takes(
    quick_config, quick_variables, drawn_dir, tmp_path
):
    config = copy.deepcopy(quick_config)
    save_safetensors(tmp_path / "weights.safetensors", quick_variables)
    data = tmp_path / "data"
    (data / "annotations").mkdir(parents=True)
    (data / "test2017").symlink_to(drawn_dir / "val2017")
    truth = drawn_dir / "annotations" / "person_keypoints_val2017.json"
    images = json.loads(truth.read_text())["images"]
    (data / "annotations" / "image_info_test-dev2017.json").write_text(
        json.dumps({"images": images, "categories": []})
    )
    config.data.dir = str(data)
    weights = tmp_path / "weights.safetensors"
    where = {"workdir": None, "weights": weights, "out": tmp_path / "out"}
    submit_test_dev(resolve(config, split="test-dev"), algorithm="tiny", **where)
    name = "person_keypoints_test-dev2017_tiny_results"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{name}.zip"]
    with zipfile.ZipFile(tmp_path / "out" / f"{name}.zip") as archive:
        results = json.loads(archive.read(f"{name}.json"))
    assert {result["image_id"] for result in results} <= {i["id"] for i in images}
    config.data.dir = str(drawn_dir)
    evaluate(config, tmp_path / "val", weights=weights)
    expected = json.loads((tmp_path / "val" / "results_peaks.json").read_text())
    assert len(results) == len(expected) > 0
    for got, same in zip(results, expected, strict=True):
        assert got["image_id"] == same["image_id"]
        assert got["score"] == round(same["score"], 6)


def test_weights_of_another_architecture_are_refused(config, variables, tmp_path):
    save_safetensors(tmp_path / "weights.safetensors", variables)
    config.method.heatmap_hidden = 8
    with pytest.raises(ValueError, match=r"weights.safetensors: ") as caught:
        evaluate(config, tmp_path / "out", weights=tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_architecture_is_refused(finished_run, config, tmp_path):
    config.method.heatmap_hidden = 8
    with pytest.raises(ValueError, match=r"heatmap_hidden=4 \(config: 8\)") as caught:
        evaluate(config, tmp_path / "out", workdir=finished_run.workdir)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_run_is_refused_and_left_alone(config, tmp_path):
    with pytest.raises(ValueError, match="run: got no such run"):
        evaluate(config, tmp_path / "out", workdir=tmp_path / "run")
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="run: got no checkpoint, expected one of"):
        evaluate(config, tmp_path / "out", workdir=tmp_path / "run")
    assert not (tmp_path / "out").exists()


def test_a_batch_that_devices_do_not_divide_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_mesh", make_mesh)
    config.eval.batch_size = 6
    with pytest.raises(ValueError, match=r"got eval\.batch_size=6, which 8 devices"):
        evaluate(config, tmp_path / "out", workdir=tmp_path)


def test_the_baseline_runs_through_the_same_wiring(config, tmp_path):
    change_method(config, "center_offset")
    config.epochs = 1.0
    train_from_config(config, tmp_path / "run")
    rows = evaluate(config, tmp_path / "out", workdir=tmp_path / "run", num_drawn=1)
    assert_metrics(rows, "initial")
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 1


def test_prepared_data_score_as_the_folder_they_come_from(
    quick_run, quick_config, drawn_dir, tmp_path
):
    config = copy.deepcopy(quick_config)
    direct = evaluate(config, tmp_path / "direct", workdir=quick_run)
    prepare_coco(drawn_dir, tmp_path / "data", skeleton=skeletons.COCO, progress=False)
    config.data.dir = str(tmp_path / "data")
    prepared = evaluate(config, tmp_path / "prepared", workdir=quick_run)
    assert prepared == direct


def test_hosts_compare_what_they_evaluate(config, monkeypatch):
    compared = []
    monkeypatch.setattr(run, "check_same", lambda *pair: compared.append(pair))
    resolved = resolve(config, split="val")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    resolved.eval_batches()
    source = resolved.eval_source
    expected = f"{source.fingerprint}-{len(source)}"
    assert ("data to evaluate", expected) in compared
