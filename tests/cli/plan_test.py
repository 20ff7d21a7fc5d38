import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from logocap_jax import cli
from tests import programs

TINY = pathlib.Path(__file__).resolve().parents[1] / "tiny_config.py"
COMMAND = "import sys; from logocap_jax import cli; sys.exit(cli.main(sys.argv[1:]))"


def plan_apart(*arguments):
    """`logocap plan` in a process of its own, which may have other devices."""
    # Less optimised code is compiled faster, and tells the same.
    flags = f"--xla_backend_optimization_level=0 {programs.quick_flags()}"
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "plan", "--config", TINY, *arguments],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )


def check_data_parallel(content, *, same=("bytes", "count")):
    """Sums are all that devices tell each other, and the same for any batch."""
    sums = content["collectives"].pop("all-reduce")
    assert not any(traffic["count"] for traffic in content["collectives"].values())
    others = content["other_collectives"]["all-reduce"]
    assert [others[name] for name in same] == [sums[name] for name in same]
    # The net is so small that the losses and the statistics' gradients show.
    assert 1 < sums["bytes"] / content["expected_collectives"] < 1.1


@pytest.mark.slow
def test_step_on_eight_cpu_devices_sums_gradients_and_statistics_only(tmp_path):
    out = tmp_path / "plan.json"
    options = ["--set", "batch_size=16", "--set", "method.flip_test=True"]
    done = plan_apart("--topology", "cpu:8", *options, "--json", out)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first == (
        "8 x cpu, 16 images a step, 2 on each device, float32, 17 keypoints (coco)"
    )
    content = json.loads(out.read_text())
    assert (content["devices"], content["other_batch_size"]) == (8, 8)
    assert content["state"]["optimizer"] == 2 * content["state"]["parameters"] + 8
    assert content["peak_memory"] > content["state"]["parameters"] * 3
    assert content["flops"] > 1e6
    check_data_parallel(content)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu, the compiler for TPUs, is not installed: the extra tpu-plan",
)
def test_step_is_planned_for_a_tpu_that_is_not_there(tmp_path):
    out = tmp_path / "plan.json"
    done = plan_apart("--topology", "v5e:4x4", "--set", "batch_size=64", "--json", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("16 x TPU v5 lite, 64 images a step")
    content = json.loads(out.read_text())
    assert content["device_memory"] == 16 * 2**30
    check_data_parallel(content)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins") is None,
    reason="the compiler for GPUs is not installed: the extra cuda",
)
def test_step_is_planned_for_gpus_that_are_not_there(tmp_path):
    out = tmp_path / "plan.json"
    options = ["--set", "batch_size=16", "--json", out]
    done = plan_apart("--topology", "h200:4", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 x NVIDIA H200, 16 images a step")
    content = json.loads(out.read_text())
    assert content["device_memory"] == 141 * 10**9
    assert content["flops"] > 1e6
    # XLA chooses for each batch which of them to send together.
    check_data_parallel(content, same=["bytes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "batch_size=12"], "batch_size=12, which 8 devices do not divide"),
        (["--set", "accumulate=2"], "expected a multiple of 16, for accumulate=2 part"),
        (["--topology", "v5e:3"], "topology 'v5e:3', expected 2 sides"),
        (["--config", "absent.py"], "got --config=absent.py, expected a file, or one"),
        (["--set", "batch"], "got --config.batch, expected --config.batch=VAL"),
        (["--set", "batch=8"], "got --config.batch, but config has no 'batch'"),
        (["--set", "method.dtype='int8'"], "method: got dtype='int8', expected one of"),
        (["--json", "absent/plan.json"], "absent/plan.json: no such folder"),
    ],
)
def test_bad_arguments_end_in_one_line(capsys, arguments, message):
    jax.devices()
    given = ["plan", f"--config={TINY}", "--topology=cpu:8", *arguments]
    assert cli.main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
