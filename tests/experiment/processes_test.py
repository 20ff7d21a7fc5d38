"""`train.py` and `eval.py` on several devices and in several processes."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests import programs
from tests.processes_test import free_port

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "tiny_config.py"


def run(script, *arguments, processes, devices):
    """Run a script in some processes; returns what each has printed."""
    environment = (
        os.environ
        | programs.one_thread(devices)
        | {
            "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
            "PYTHONPATH": str(ROOT),
        }
    )
    address = f"localhost:{free_port()}"
    started = []
    for index in range(processes):
        command = [sys.executable, str(ROOT / script), *map(str, arguments)]
        if processes > 1:
            command += [f"--coordinator={address}", f"--num_processes={processes}"]
            command += [f"--process_id={index}"]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
            )
        )
    outputs = [process.communicate(timeout=300)[0] for process in started]
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


# Processes, and devices of each.
LAYOUTS = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1))


@pytest.fixture(scope="module")
def workdirs(drawn_dir, tmp_path_factory):
    """One run on each layout."""
    root = tmp_path_factory.mktemp("processes")
    workdirs = {layout: root / "x".join(map(str, layout)) for layout in LAYOUTS}
    for (processes, devices), workdir in workdirs.items():
        run(
            "train.py",
            *(f"--config={CONFIG}", f"--config.data.dir={drawn_dir}"),
            *(f"--workdir={workdir}", "--config.epochs=2.5"),
            processes=processes,
            devices=devices,
        )
    return workdirs


def losses(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return {
        line["step"]: [value for name, value in line.items() if name[:5] == "loss/"]
        for line in lines
        if "loss/total" in line
    }


@pytest.mark.row("T2", "T5")
@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
def test_any_number_of_devices_and_processes_takes_the_steps_of_one(workdirs, layout):
    one, several = losses(workdirs[1, 1]), losses(workdirs[layout])
    assert one.keys() == several.keys() == set(range(1, 6))
    for step in one:
        assert several[step] == pytest.approx(one[step], rel=1e-5)


@pytest.fixture(scope="module")
def evaluated(workdirs, drawn_dir, tmp_path_factory):
    """What each layout makes of the same weights."""
    root = tmp_path_factory.mktemp("evaluated")
    outs = {layout: root / "x".join(map(str, layout)) for layout in LAYOUTS}
    for (processes, devices), out in outs.items():
        run(
            "eval.py",
            *(f"--config={CONFIG}", f"--config.data.dir={drawn_dir}"),
            *(f"--workdir={workdirs[1, 1]}", f"--out={out}", "--draw=2"),
            processes=processes,
            devices=devices,
        )
    return outs


@pytest.mark.row("T5")
@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=str)
def test_any_layout_finds_the_poses_and_exactly_the_scores_of_one(evaluated, layout):
    folders = evaluated[1, 1], evaluated[layout]
    metrics, poses = (
        [json.loads((folder / name).read_text()) for folder in folders]
        for name in ("metrics.json", "results_logocap.json")
    )
    assert metrics[0] == metrics[1]
    for one, other in zip(*poses, strict=True):
        assert one["image_id"] == other["image_id"]
        # Other programs of the same sums: the last bit may differ.
        np.testing.assert_allclose(one["keypoints"], other["keypoints"], atol=1e-4)
    assert len(list((folders[1] / "overlays").iterdir())) == 2
