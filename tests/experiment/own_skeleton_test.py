"""From drawn animals with five keypoints to scores, pictures and an export."""

import copy
import dataclasses
import json
import shutil

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipeline.drawn.animals import ANIMALS
from data_pipeline.drawn.dataset import write_drawn_dataset
from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.find_skeleton import find_skeleton
from logocap_jax import cli
from logocap_jax.evaluation.protocol import Protocol
from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.experiment import evaluation
from logocap_jax.experiment.run import resolve
from logocap_jax.predictor.exported import read_export
from logocap_jax.training.errors import MismatchError
from logocap_jax.weights.files import save_safetensors
from logocap_jax.weights.settings import build_fitting, config_of, load_settings
from tests.runs import evaluate_from_config, restore_last, train_from_config

pytestmark = pytest.mark.usefixtures("one_device")

NAMES = ("nose", "left_ear", "right_ear", "rump", "tail")


@pytest.fixture(scope="module")
def animals_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("animals") / "data"
    numbers = {"num_train": 32, "num_val": 8, "size": 128, "seed": 0}
    write_drawn_dataset(out, **numbers, progress=False, subject=ANIMALS)
    return out


@pytest.fixture(scope="module")
def animal_config(tiny_config, animals_dir) -> ConfigDict:
    config = copy.deepcopy(tiny_config)
    config.data.dir = str(animals_dir)
    config.learning_rate = 5e-3
    config.method.center_threshold = 1e-9
    config.epochs = config.eval_every = 3.0
    return config


@pytest.fixture(scope="module")
def workdir(animal_config, tmp_path_factory):
    out = tmp_path_factory.mktemp("animal_run") / "run"
    train_from_config(animal_config, out)
    return out


def test_the_loss_falls_and_the_score_is_that_of_its_own_sigmas(
    workdir, animal_config, tmp_path, caplog
):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    losses = [
        record["loss/total"]
        for record in map(json.loads, lines)
        if "loss/total" in record
    ]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    with caplog.at_level("INFO", "logocap_jax"):
        evaluate_from_config(
            animal_config,
            workdir=workdir,
            weights=None,
            out=tmp_path,
            split="val",
            num_drawn=2,
            analyse=True,
        )
    assert "8 images of val; OKS sigmas: given\n" in caplog.text
    rows = json.loads((tmp_path / "metrics.json").read_text())
    assert all(0 <= row["AP"] <= 1 for row in rows.values())
    protocol = json.loads((tmp_path / "protocol.json").read_text())
    assert protocol["skeleton"]["keypoints"] == list(NAMES)
    assert protocol["skeleton"]["sigmas"] == [0.1] * 5
    results = json.loads((tmp_path / "results_logocap.json").read_text())
    assert {len(result["keypoints"]) for result in results} <= {15}
    assert {result["category_id"] for result in results} <= {3}
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert tuple(errors["logocap"]["by_keypoint"]) == NAMES
    for path in ((tmp_path / "overlays").iterdir(), [tmp_path / "errors.png"]):
        assert all(cv2.imread(str(each)) is not None for each in path)


def test_poses_are_scored_with_the_sigmas_of_the_data(animal_config):
    """Poses a tenth of their size off: near enough for 0.1, far off for 0.02."""
    run = resolve(animal_config, split="val")
    truth, skeleton = run.truth(), run.skeleton

    def score(skeleton, shift):
        images = []
        for image in truth["images"]:
            people = [p for p in truth["annotations"] if p["image_id"] == image["id"]]
            points = np.array([p["keypoints"] for p in people], np.float32)
            points = points.reshape(-1, 5, 3)[..., :2]
            size = np.sqrt([p["area"] for p in people]).astype(np.float32)
            points[..., 0] += shift * size[:, None]
            scores = np.ones(len(people), np.float32)
            images.append(
                ImagePoses(image["id"], points, np.ones_like(points[..., 0]), scores)
            )
        rows = evaluation.score(truth, {"found": images}, Protocol(skeleton))
        return rows["found"]["AP"]

    assert score(skeleton, 0) > 0.99
    assert score(skeleton, 0.1) == pytest.approx(0.8, abs=0.02)  # OKS exp(-1 / 8)
    strict = dataclasses.replace(skeleton, sigmas=(0.02,) * 5)
    assert score(strict, 0.1) < 0.1


def test_a_run_brings_its_skeleton_to_whatever_reads_it(workdir, animals_dir, tmp_path):
    weights = ["--weights", str(workdir)]
    image = str(next((animals_dir / "val2017").iterdir()))
    table, out = tmp_path / "poses.csv", tmp_path / "drawn"
    options = ["--short-side", "64", "--score-threshold", "0", "--draw", "refined,kam"]
    arguments = [image, "--csv", str(table), "--out", str(out), "--no-flip-test"]
    assert cli.main(["predict", *arguments, *weights, *options]) == 0
    head = table.read_text().splitlines()[0].split(",")
    assert [name[:-2] for name in head[5::3]] == list(NAMES)
    export = tmp_path / "animals.stablehlo"
    options = ["--what", "dense", "--size", "64x64", "--batch", "1"]
    options += ["--platforms", "cpu", "--no-flip-test"]
    assert cli.main(["export", str(export), *weights, *options]) == 0
    info, _ = read_export(export)
    assert info.skeleton == find_skeleton(animals_dir)
    (heatmaps,) = [each for each in info.outputs if each.name == "heatmaps"]
    assert heatmaps.shape[-1] == 6


def test_other_weights_are_told_it(animal_config, animals_dir, tmp_path, capsys):
    config = copy.deepcopy(animal_config)
    config.method.backbone.modules = (1, 1, 1)  # what other weights are read by
    shapes = jax.eval_shape(resolve(config).method.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    path = tmp_path / "animals.safetensors"
    save_safetensors(path, zeros)
    image = str(next((animals_dir / "val2017").iterdir()))
    arguments = ["--weights", str(path), "--json", str(tmp_path / "poses.json")]
    assert cli.main(["predict", image, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "got weights for 5 keypoints, expected 17 (coco), 14 (crowdpose)" in line
    assert "--skeleton DIR" in line
    skeleton = find_skeleton(animals_dir)
    changes = {"skeleton": dataclasses.asdict(skeleton)}
    settings, variables = load_settings(path, changes)
    build_fitting(path, settings, variables)
    assert config_of(settings).skeleton == skeleton


def test_records_go_on_with_the_run_and_score_the_same(
    workdir, animal_config, animals_dir, tmp_path
):
    records = tmp_path / "records"
    skeleton = find_skeleton(animals_dir)
    prepare_coco(animals_dir, records, skeleton=skeleton, progress=False)
    config = copy.deepcopy(animal_config)
    found = []
    for folder in (animals_dir, records):
        config.data.dir = str(folder)
        out = tmp_path / "scores"
        evaluate_from_config(
            config, workdir=workdir, weights=None, out=out, split="val"
        )
        found.append((out / "metrics.json").read_text())
    assert found[0] == found[1]


@pytest.fixture
def other_dir(animals_dir, tmp_path):
    """The same pictures, annotated more precisely."""
    shutil.copytree(animals_dir, tmp_path / "other")
    settings = tmp_path / "other/skeleton.toml"
    settings.write_text(settings.read_text().replace("0.1", "0.05"))
    return tmp_path / "other"


@pytest.mark.parametrize("use", ["train", "evaluate", "weights"])
def test_a_run_is_not_used_with_another_skeleton(
    workdir, animal_config, other_dir, tmp_path, use
):
    config = copy.deepcopy(animal_config)
    config.data.dir = str(other_dir)
    before = (workdir / "metrics.jsonl").read_text()
    out = {"out": tmp_path / "out", "split": "val"}
    uses = {
        "train": lambda: train_from_config(config, workdir),
        "evaluate": lambda: evaluate_from_config(
            config, workdir=workdir, weights=None, **out
        ),
        "weights": lambda: evaluate_from_config(
            config, workdir=None, weights=workdir, **out
        ),
    }
    with pytest.raises(MismatchError, match="skeleton") as caught:
        uses[use]()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert (workdir / "metrics.jsonl").read_text() == before


def test_limbs_and_names_may_change_on_the_way(
    workdir, animal_config, animals_dir, tmp_path
):
    shutil.copytree(animals_dir, tmp_path / "data")
    settings = tmp_path / "data/skeleton.toml"
    settings.write_text(settings.read_text().replace('"animal"', '"beast"'))
    config = copy.deepcopy(animal_config)
    config.data.dir = str(tmp_path / "data")
    assert restore_last(config, workdir) is not None


def test_a_config_without_data_is_planned_for_coco(animal_config):
    config = copy.deepcopy(animal_config)
    assert resolve(config).skeleton.num_keypoints == 5
    for folder in ("", "nowhere"):
        config.data.dir = folder
        assert resolve(config).skeleton.name == "coco"
