"""CrowdPose and OCHuman, from what is downloaded to their papers' scores."""

import copy
import json
import shutil

import pytest

from logocap_jax.cli.eval import parse_thresholds
from tests.runs import evaluate_from_config, train_from_config

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def lay_out(shared_dir, tmp_path_factory):
    """Lay a sample out as its data set is downloaded, for some splits."""

    def lay_out(name, annotation_file, *splits):
        root = tmp_path_factory.mktemp(name) / name
        sample = shared_dir / "data" / "samples" / name
        shutil.copytree(sample, root / "images")
        for split in splits:
            shutil.copy(
                root / "images" / f"test_{name}.json",
                root / annotation_file.format(split),
            )
        return root

    return lay_out


@pytest.fixture(scope="module")
def crowdpose_run(lay_out, quick_config, tmp_path_factory):
    config = copy.deepcopy(quick_config)
    root = lay_out("crowdpose", "crowdpose_{}.json", "train", "val", "test")
    config.data.dir = str(root)
    config.batch_size = 8
    config.epochs = 2.0
    workdir = tmp_path_factory.mktemp("crowdpose_run") / "run"
    train_from_config(config, workdir)
    return config, workdir


@pytest.mark.parametrize(
    ("thresholds", "note"),
    [
        (None, "easy < 0.2 <= medium < 0.8 <= hard"),
        ((0.1, 0.8), "easy < 0.1 <= medium < 0.8 <= hard"),
    ],
)
def test_crowdpose_is_trained_on_and_scored_by_crowdedness(
    crowdpose_run, tmp_path, caplog, thresholds, note
):
    config, workdir = crowdpose_run
    with caplog.at_level("INFO", "logocap_jax"):
        evaluate_from_config(
            config,
            workdir=workdir,
            weights=None,
            out=tmp_path,
            split="test",
            crowd_thresholds=thresholds,
        )
    assert f"2 images of test; OKS sigmas: crowdposetools; crowd index: {note}" in (
        caplog.text
    )
    head = ["poses", "AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard"]
    assert any(line.split() == head for line in caplog.text.splitlines())
    rows = json.loads((tmp_path / "metrics.json").read_text())
    assert rows["peaks"].keys() >= set(head[1:])
    results = json.loads((tmp_path / "results_peaks.json").read_text())
    assert {len(result["keypoints"]) for result in results} <= {42}


def test_ochuman_is_scored_with_weights_of_coco(
    lay_out, quick_run, quick_config, tmp_path
):
    config = copy.deepcopy(quick_config)
    name = "ochuman_coco_format_{}_range_0.00_1.00.json"
    config.data.dir = str(lay_out("ochuman", name, "val", "test"))
    for split in ("val", "test"):
        evaluate_from_config(
            config,
            workdir=quick_run,
            weights=None,
            out=tmp_path / split,
            split=split,
        )
        rows = json.loads((tmp_path / split / "metrics.json").read_text())
        assert rows["peaks"].keys() >= {"AP", "APM", "APL"}


def test_thresholds_are_for_crowdpose_only(quick_run, quick_config, tmp_path):
    with pytest.raises(ValueError, match="skeleton 'coco', expected them for CrowdP"):
        evaluate_from_config(
            quick_config,
            workdir=quick_run,
            weights=None,
            out=tmp_path,
            split="val",
            crowd_thresholds=(0.1, 0.8),
        )


@pytest.mark.parametrize(("given", "expected"), [(None, None), ("0.1,0.8", (0.1, 0.8))])
def test_eval_takes_thresholds(given, expected):
    assert parse_thresholds(given) == expected


@pytest.mark.parametrize("given", ["0.1", "a,b", "0.1,0.2,0.3"])
def test_eval_takes_nothing_but_two_numbers(given):
    with pytest.raises(ValueError, match="expected two numbers"):
        parse_thresholds(given)
