import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from logocap_jax import processes
from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.evaluation.runner import gather_images
from tests import programs

# Joins, gathers rows, evaluates a share of toy images, compares configs.
SCRIPT = """
import json, sys
import numpy as np
from logocap_jax import processes
coordinator, index, config = sys.argv[1], int(sys.argv[2]), sys.argv[3]
assert processes.start(coordinator, 2, index)
from logocap_jax.evaluation.runner import make_evaluator, run_evaluation
from logocap_jax.sharding import make_mesh
from tests.evaluation.runner_test import METHOD, VARIABLES, make_batch

rows = np.arange(index + 1, dtype=np.int64)[:, None] + 2**40 + 10 * index
share = slice(index, None, 2)
batches = [
    make_batch(np.array(ids)[share], valid=np.array(valid)[share])
    for ids, valid in (([1, 2, 3, 4], [True] * 4), ([5, 5], [True, False]))
]
mesh = make_mesh()
found = run_evaluation(make_evaluator(METHOD, mesh), VARIABLES, batches, mesh)
result = {
    "rows": processes.gather_rows(rows).tolist(),
    "devices": mesh.devices.size,
    "ids": [image.image_id for image in found["toy"]],
    "scores": [image.scores.tolist() for image in found["toy"]],
}
try:
    processes.check_same("config", config)
except ValueError as error:
    result["error"] = str(error)
print("RESULT", json.dumps(result))
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def run_two(*configs):
    address = f"localhost:{free_port()}"
    environment = (
        os.environ
        | programs.one_device()
        | {
            "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        }
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(index), config],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for index, config in enumerate(configs)
    ]
    results = []
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        (line,) = [text for text in output.splitlines() if text.startswith("RESULT")]
        results.append(json.loads(line.removeprefix("RESULT")))
    return results


@pytest.fixture(scope="module")
def results():
    return run_two("one", "other")


def test_rows_are_gathered_whole_and_in_order(results):
    for result in results:
        assert result["rows"] == [[2**40], [2**40 + 10], [2**40 + 11]]


def test_each_process_evaluates_its_share_and_has_all_results(results):
    assert results[0]["devices"] == 2
    assert results[0]["ids"] == results[1]["ids"] == [1, 2, 3, 4, 5]
    assert results[0]["scores"] == results[1]["scores"]
    for number, scores in zip(results[0]["ids"], results[0]["scores"], strict=True):
        assert scores == [slot + 0.5 + number for slot in range(min(number % 4, 3))]


def test_another_config_is_told_to_all(results):
    for result in results:
        assert "another config in processes [1] than in process 0" in result["error"]


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_finds_no_other_ends_with_one_line(index):
    address = f"localhost:{free_port()}"
    code = f"processes.start({address!r}, 2, {index}, timeout_s=2)"
    ended = subprocess.run(
        [sys.executable, "-c", f"from logocap_jax import processes; {code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "within 2 s; start all of them" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "coordinator", ["localhost", "localhost:http", "localhost:70000", ":80"]
)
def test_an_address_that_is_none_is_refused(coordinator):
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        processes.start(coordinator, 2, 0)


def test_a_port_in_use_is_refused():
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(ValueError, match="choose a free one"):
            processes.start(address, 2, 0)


def test_gathering_in_one_process_changes_nothing():
    images = [
        ImagePoses(
            2**40 + count,
            np.full((count, 17, 2), count, np.float32),
            np.zeros((count, 17), np.float32),
            np.arange(count, dtype=np.float32),
        )
        for count in (2, 0, 1)
    ]
    for one, other in zip(gather_images(images), images, strict=True):
        assert one.image_id == other.image_id
        assert one.initial_keypoints is None
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "1"}, False),
        ({"SLURM_NTASKS": "8"}, True),
        # An allocation of 8 tasks, of which this step has one.
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
    ],
)
def test_schedulers_tell_whether_there_are_several_processes(environment, several):
    assert processes.scheduled(environment) is several


@pytest.mark.parametrize(
    "shell",
    [
        {"SLURM_NTASKS": "4"},
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"},
        {"SLURM_NTASKS": "16", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
        {"SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "a[1-2]"},
        {"SLURM_NTASKS": "2", "OMPI_COMM_WORLD_SIZE": "1"},
    ],
)
def test_the_shell_of_an_allocation_is_told_apart(shell):
    with pytest.raises(ValueError, match="srun has not started this process"):
        processes.start(environment=shell)


def test_half_an_address_is_refused():
    with pytest.raises(ValueError, match="expected all three or none"):
        processes.start("localhost:1", 2)


def test_one_process_alone_joins_nothing():
    assert processes.start(environment={}) is False
