"""`train.py` and `eval.py` as their users run them."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import pytest
from pycocotools.coco import COCO

from data_pipeline.drawn import write_drawn_dataset
from tests import programs

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = "--config=tests/tiny_config.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "data"
    write_drawn_dataset(out, num_train=18, num_val=4, size=96, seed=0, progress=False)
    return out


@pytest.fixture
def start(data_dir):
    """Starts a script on one device."""

    def start_(script, *flags):
        return subprocess.Popen(
            [sys.executable, script, CONFIG, f"--config.data.dir={data_dir}", *flags],
            cwd=ROOT,
            env=os.environ | programs.one_device(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_


def finish(process):
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r["step"]: r["loss/total"] for r in records if "loss/total" in r}


def test_a_run_that_is_trained_killed_resumed_and_evaluated(start, data_dir, tmp_path):
    finish(start("train.py", f"--workdir={tmp_path / 'whole'}"))
    killed = start("train.py", f"--workdir={tmp_path / 'killed'}")
    for line in killed.stdout:
        if "step 3/4" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = finish(start("train.py", f"--workdir={tmp_path / 'killed'}"))
    assert "going on after step 2 of 4" in resumed
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")

    out = tmp_path / "out"
    printed = finish(
        start("eval.py", f"--workdir={tmp_path / 'whole'}", f"--out={out}", "--draw=2")
    )
    assert "poses       AP" in printed
    rows = json.loads((out / "metrics.json").read_text())
    assert rows.keys() == {"initial", "logocap", "bound"}
    truth = COCO(str(data_dir / "annotations/person_keypoints_val2017.json"))
    for name, row in rows.items():
        assert row.keys() >= {"AP", "AP50", "AP75", "APM", "APL", "AR"}
        assert all(value is None or 0 <= value <= 1 for value in row.values())
        truth.loadRes(str(out / f"results_{name}.json"))
    pictures = [out / "loss_curve.png", *(out / "overlays").iterdir()]
    assert len(pictures) == 3
    assert all(cv2.imread(str(path)) is not None for path in pictures)


def test_a_run_of_another_architecture_ends_in_one_line(start, tmp_path):
    finish(start("train.py", f"--workdir={tmp_path}", "--config.epochs=0.5"))
    for script in ("train.py", "eval.py"):
        other = start(script, f"--workdir={tmp_path}", "--config.method.embedding=3")
        _, error = other.communicate()
        assert other.returncode == 3
        assert error.startswith("error: checkpoint ")
        assert "embedding=2 (config: 3)" in error
        assert error.count("\n") == 1
