"""Killed at every file operation of a save, or at any time: what is listed is whole.

A writer that replaces an old checkpoint makes, renames and removes files; it is killed
at the k-th of these, for each k. (Arrays are written by TensorStore, which tells
nothing; the kills at random moments are for those.) Afterwards a further save works.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.state import TrainState

SCRIPT = """
import pathlib, sys
from logocap_jax.training.checkpoint import Checkpoints
from tests.faults.crash_point_test import state_of
from tests.faults.injector import KillAtEvent

folder = pathlib.Path(sys.argv[1])
checkpoints = Checkpoints(folder, settings={})
for step in (1, 2):
    checkpoints.save_last(state_of(step))
checkpoints._last.wait()
kill = KillAtEvent(folder, event=int(sys.argv[2]))
kill.arm()
checkpoints.save_last(state_of(3))
checkpoints.close()
kill.armed = False
print(kill.seen)
"""


LARGE = 4_000_000
SAVES = f"""
import itertools, pathlib, sys
from logocap_jax.training.checkpoint import Checkpoints
from tests.faults.crash_point_test import state_of

checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), settings={{}})
for step in itertools.count(1):
    checkpoints.save_last(state_of(step, {LARGE}))
    print(step, flush=True)
"""


def state_of(step, size=4000):
    weights = np.random.default_rng(step).random(size, np.float32)
    return TrainState(jnp.asarray(step), {"w": jnp.asarray(weights)}, {}, ())


def environment():
    root = pathlib.Path(__file__).resolve().parents[2]
    return os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}


def save_until(folder, event):
    """Save steps 1 to 3 in a process that dies at an event; its output and code."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(event)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )


def assert_whole(folder, *, committed=2, size=4000):
    """Every step that is listed has its numbers; another one can be saved."""
    like = state_of(0, size)
    checkpoints = Checkpoints(folder, settings={})
    listed = sorted(
        int(path.name) for path in (folder / "last").iterdir() if path.name.isdigit()
    )
    assert listed[-1] in (committed, committed + 1)
    restored = checkpoints.restore_last(like)
    assert int(restored.step) == listed[-1]
    np.testing.assert_array_equal(
        restored.params["w"], state_of(listed[-1], size).params["w"]
    )
    checkpoints.save_last(state_of(committed + 2, size))
    checkpoints.close()
    again = Checkpoints(folder, settings={})
    assert int(again.restore_last(like).step) == committed + 2
    again.close()


def crash_points(tmp_path):
    whole = save_until(tmp_path / "whole", 0)
    assert whole.returncode == 0
    return int(whole.stdout)


@pytest.mark.row("R1")
def test_a_save_cut_at_its_first_middle_or_last_operation_loses_nothing(
    tmp_path, record_property
):
    record_property("cases", 3)
    count = crash_points(tmp_path)
    for event in (1, count // 2, count):
        assert save_until(tmp_path / str(event), event).returncode == -9
        assert_whole(tmp_path / str(event))


@pytest.mark.slow
@pytest.mark.row("R1")
def test_a_save_cut_at_any_operation_loses_nothing(tmp_path, record_property):
    count = crash_points(tmp_path)
    record_property("cases", count)
    assert count > 10
    for event in range(1, count + 1):
        assert save_until(tmp_path / str(event), event).returncode == -9
        assert_whole(tmp_path / str(event))


@pytest.mark.slow
@pytest.mark.row("R2")
def test_saves_killed_at_random_moments_lose_nothing(tmp_path, record_property):
    record_property("cases", 20)
    chance = random.Random(0)
    for turn in range(20):
        folder = tmp_path / str(turn)
        with subprocess.Popen(
            [sys.executable, "-c", SAVES, str(folder)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as writer:
            assert "3\n" in writer.stdout
            threading.Timer(chance.uniform(0, 0.5), writer.kill).start()
            begun = [3, *map(int, writer.stdout)][-1]
        assert writer.returncode == -9
        assert_whole(folder, committed=begun - 1, size=LARGE)
        shutil.rmtree(folder)
