"""`train.py` and `eval.py` in two processes, and in one with as many devices."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.processes_test import free_port

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "tiny_config.py"


def run(script, *arguments, processes, devices, programs_dir):
    """Run a script in some processes; returns what each has printed."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
        "JAX_COMPILATION_CACHE_DIR": str(programs_dir / f"{processes}x{devices}"),
        "PYTHONPATH": str(ROOT),
        # Sums on a CPU depend on the number of threads.
        "NPROC": "1",
    }
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


@pytest.fixture(scope="module")
def workdirs(drawn_dir, programs_dir, tmp_path_factory):
    """Runs of one process with two devices, and of two processes with one each."""
    root = tmp_path_factory.mktemp("processes")
    for name, processes, devices in (("one", 1, 2), ("two", 2, 1)):
        run(
            "train.py",
            *(f"--config={CONFIG}", f"--config.data.dir={drawn_dir}"),
            *(f"--workdir={root / name}", "--config.epochs=2.5"),
            processes=processes,
            devices=devices,
            programs_dir=programs_dir,
        )
    return root / "one", root / "two"


def losses(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return {
        line["step"]: [value for name, value in line.items() if name[:5] == "loss/"]
        for line in lines
        if "loss/total" in line
    }


def test_two_processes_take_the_steps_of_one(workdirs):
    one, two = map(losses, workdirs)
    assert one.keys() == two.keys() == set(range(1, 6))
    for step in one:
        assert two[step] == pytest.approx(one[step], rel=1e-5)


def test_two_processes_find_the_poses_and_exactly_the_scores_of_one(
    workdirs, drawn_dir, programs_dir, tmp_path
):
    metrics, poses = [], []
    for processes, devices in ((1, 2), (2, 1)):
        out = tmp_path / str(processes)
        run(
            "eval.py",
            *(f"--config={CONFIG}", f"--config.data.dir={drawn_dir}"),
            *(f"--workdir={workdirs[0]}", f"--out={out}", "--draw=2"),
            processes=processes,
            devices=devices,
            programs_dir=programs_dir,
        )
        metrics.append(json.loads((out / "metrics.json").read_text()))
        poses.append(json.loads((out / "results_logocap.json").read_text()))
        assert len(list((out / "overlays").iterdir())) == 2
    assert metrics[0] == metrics[1]
    for one, two in zip(*poses, strict=True):
        assert one["image_id"] == two["image_id"]
        # Two programs of the same sums: the last bit may differ.
        np.testing.assert_allclose(one["keypoints"], two["keypoints"], atol=1e-4)
