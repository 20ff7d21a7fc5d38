import dataclasses
import json

import cv2
import jax
import pytest
from pycocotools.coco import COCO

from data_pipeline.prepare import prepare_coco
from logocap_jax import skeletons
from logocap_jax.convert.files import save_safetensors, save_variables
from logocap_jax.experiment import build
from logocap_jax.experiment.evaluation import evaluate_from_config
from logocap_jax.experiment.training import train_from_config
from logocap_jax.methods.keypointer import KeypointerConfig
from logocap_jax.sharding import make_mesh

COLUMNS = {"AP", "AP50", "AP75", "APM", "APL", "AR"}


def evaluate(config, out, *, workdir=None, weights=None, **changes):
    settings = {"split": "val"} | changes
    evaluate_from_config(config, workdir=workdir, weights=weights, out=out, **settings)
    return json.loads((out / "metrics.json").read_text())


def assert_metrics(rows, *names):
    assert rows.keys() == set(names)
    for row in rows.values():
        assert row.keys() == COLUMNS
        for value in row.values():
            assert value is None or 0 <= value <= 1


@pytest.fixture
def variables(config):
    """Fresh ones: their poses are nonsense, but there are some."""
    method = build.make_method(config)
    return jax.device_get(build.fresh_state(config, method, make_mesh()).variables)


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


def test_evaluating_again_gives_the_same_files(finished_run, config, tmp_path):
    for name in ("one", "two"):
        evaluate(config, tmp_path / name, workdir=finished_run.workdir)
    for path in (tmp_path / "one").glob("*.json"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_run_may_be_evaluated_with_the_flip_test(finished_run, config, tmp_path):
    config.method.flip_test = True
    rows = evaluate(config, tmp_path, workdir=finished_run.workdir)
    assert_metrics(rows, "initial", "logocap", "bound")


@pytest.mark.parametrize("save", [save_safetensors, save_variables])
def test_weights_are_evaluated_as_they_are(config, variables, tmp_path, save):
    save(tmp_path / "weights.safetensors", variables)
    rows = evaluate(config, tmp_path / "out", weights=tmp_path / "weights.safetensors")
    assert_metrics(rows, "initial", "logocap", "bound")
    assert not (tmp_path / "out" / "loss_curve.png").exists()
    assert not (tmp_path / "out" / "overlays").exists()


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


def test_a_batch_that_devices_do_not_divide_is_refused(config, tmp_path):
    config.eval.batch_size = 6
    with pytest.raises(ValueError, match=r"got eval\.batch_size=6, which 8 devices"):
        evaluate(config, tmp_path / "out", workdir=tmp_path)


def test_the_baseline_runs_through_the_same_wiring(config, tmp_path):
    known = {field.name for field in dataclasses.fields(KeypointerConfig)}
    with config.unlocked():
        config.method = {k: v for k, v in config.method.items() if k in known}
        config.method.name = "center_offset"
    config.epochs = 1.0
    train_from_config(config, tmp_path / "run")
    rows = evaluate(config, tmp_path / "out", workdir=tmp_path / "run", num_drawn=1)
    assert_metrics(rows, "initial")
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 1


def test_prepared_data_score_as_the_folder_they_come_from(
    finished_run, config, drawn_dir, tmp_path
):
    direct = evaluate(config, tmp_path / "direct", workdir=finished_run.workdir)
    prepare_coco(drawn_dir, tmp_path / "data", skeleton=skeletons.COCO, progress=False)
    config.data.dir = str(tmp_path / "data")
    prepared = evaluate(config, tmp_path / "prepared", workdir=finished_run.workdir)
    assert prepared == direct
