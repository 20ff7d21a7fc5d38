"""Killed at every file operation of a save: all that is listed can be read.

A writer that replaces an old checkpoint makes, renames and removes files; an audit hook
counts these and ends the process at the k-th. (Arrays are written by TensorStore, which
tells nothing; kill_test.py kills during those.) Afterwards a further save works.
"""

import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.state import TrainState

SCRIPT = """
import os, pathlib, signal, sys
import jax.numpy as jnp
from logocap_jax.training.checkpoint import Checkpoints
from tests.faults.crash_point_test import state_of

folder, last_event = pathlib.Path(sys.argv[1]), int(sys.argv[2])
checkpoints = Checkpoints(folder, settings={})
for step in (1, 2):
    checkpoints.save_last(state_of(step))
checkpoints._last.wait()
armed, seen = True, 0

def hook(event, arguments):
    global seen
    changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
    if event == "open":
        changes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if armed and changes and str(folder) in str(arguments[0]):
        seen += 1
        if seen == last_event:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
checkpoints.save_last(state_of(3))
checkpoints.close()
armed = False
print(seen)
"""


def state_of(step):
    weights = np.random.default_rng(step).normal(size=4000).astype(np.float32)
    return TrainState(jnp.asarray(step), {"w": jnp.asarray(weights)}, {}, ())


def save_until(folder, event):
    """Save steps 1 to 3 in a process that dies at an event; its output and code."""
    root = pathlib.Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(event)],
        env=os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )


def assert_whole(folder):
    """Every step that is listed has its numbers; another one can be saved."""
    checkpoints = Checkpoints(folder, settings={})
    listed = sorted(
        int(path.name) for path in (folder / "last").iterdir() if path.name.isdigit()
    )
    assert set(listed) & {2, 3}
    restored = checkpoints.restore_last(state_of(0))
    assert int(restored.step) == listed[-1]
    np.testing.assert_array_equal(
        restored.params["w"], state_of(listed[-1]).params["w"]
    )
    checkpoints.save_last(state_of(4))
    checkpoints.close()
    again = Checkpoints(folder, settings={})
    assert int(again.restore_last(state_of(0)).step) == 4
    again.close()


def crash_points(tmp_path):
    whole = save_until(tmp_path / "whole", 0)
    assert whole.returncode == 0
    return int(whole.stdout)


def test_a_save_cut_at_its_first_middle_or_last_operation_loses_nothing(
    tmp_path, record_property
):
    record_property("cases", 3)
    count = crash_points(tmp_path)
    for event in (1, count // 2, count):
        assert save_until(tmp_path / str(event), event).returncode == -9
        assert_whole(tmp_path / str(event))


@pytest.mark.slow
def test_a_save_cut_at_any_operation_loses_nothing(tmp_path, record_property):
    count = crash_points(tmp_path)
    record_property("cases", count)
    assert count > 10
    for event in range(1, count + 1):
        assert save_until(tmp_path / str(event), event).returncode == -9
        assert_whole(tmp_path / str(event))
