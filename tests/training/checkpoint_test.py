import json
import math
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from logocap_jax.sharding import replicated
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.errors import LockedError, MismatchError


def steps(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def assert_equal_bits(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_a_restored_state_has_the_bits_of_the_saved_one(opened, make_state):
    state = make_state(7)
    odd = jnp.array([[math.nan, -0.0, 1e-42], [math.inf, 3.4e38, 0.1]], jnp.float32)
    state.params["kernel"] = odd
    checkpoints = opened()
    checkpoints.save_last(state)
    checkpoints.close()
    assert_equal_bits(opened().restore_last(make_state(0)), state)


@pytest.mark.row("R14")
def test_a_restored_state_lies_where_the_example_lies(opened, make_state):
    mesh = Mesh(np.asarray(jax.devices()[:4]), ("data",))
    writer = opened()
    writer.save_last(make_state(1))
    writer.close()
    like = jax.device_put(make_state(0), replicated(mesh))
    restored = opened(read_only=True).restore_last(like)
    assert_equal_bits(restored, make_state(1))
    for leaf in jax.tree.leaves(restored):
        assert leaf.sharding == replicated(mesh)


def test_a_new_run_has_nothing_to_restore(opened, make_state):
    checkpoints = opened()
    assert checkpoints.restore_last(make_state(0)) is None
    assert checkpoints.restore_best(make_state(0)) is None
    assert checkpoints.best_score() is None


def test_the_newest_states_are_kept_and_no_rubbish(opened, make_state, tmp_path):
    checkpoints = opened(keep=2)
    for step in (1, 2, 10):
        checkpoints.save_last(make_state(step))
    checkpoints.save_last(make_state(11))
    assert not list(tmp_path.glob("last/.todelete/1"))  # gone long before the end
    checkpoints.close()
    assert steps(tmp_path / "last") == [10, 11]
    assert {path.name for path in (tmp_path / "last").iterdir()} == {"10", "11"}
    restored = opened().restore_last(make_state(0))
    assert_equal_bits(restored, make_state(11))


def test_a_step_that_is_saved_is_not_saved_again(opened, make_state):
    checkpoints = opened()
    checkpoints.save_last(make_state(3))
    checkpoints.save_last(make_state(3))
    checkpoints.save_best(make_state(3), 0.5)
    checkpoints.save_best(make_state(3), 0.6)
    assert checkpoints.best_score() == 0.5


def test_best_keeps_only_the_best(opened, make_state, tmp_path):
    checkpoints = opened()
    for step, score in [(1, 0.1), (2, 0.4), (3, 0.3), (4, 0.4), (5, 0.2)]:
        checkpoints.save_best(make_state(step), score)
    assert checkpoints.best_score() == 0.4
    assert_equal_bits(checkpoints.restore_best(make_state(0)), make_state(2))
    checkpoints.close()
    assert steps(tmp_path / "best") == [2]


def test_best_is_remembered_by_the_run_that_goes_on(opened, make_state):
    first = opened()
    first.save_best(make_state(1), 0.5)
    first.close()
    second = opened()
    second.save_best(make_state(2), 0.4)
    assert second.best_score() == 0.5
    second.save_best(make_state(3), 0.6)
    assert_equal_bits(second.restore_best(make_state(0)), make_state(3))


def test_nan_is_never_best(opened, make_state):
    checkpoints = opened()
    checkpoints.save_best(make_state(1), math.nan)
    assert checkpoints.best_score() is None
    checkpoints.save_best(make_state(2), 0.0)
    checkpoints.save_best(make_state(3), math.nan)
    assert checkpoints.best_score() == 0.0
    assert_equal_bits(checkpoints.restore_best(make_state(0)), make_state(2))


@pytest.mark.row("R1")
def test_a_half_written_step_is_ignored_and_removed(opened, make_state, tmp_path):
    checkpoints = opened()
    checkpoints.save_last(make_state(4))
    checkpoints.close()
    half = tmp_path / "last" / "9.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    (tmp_path / "last" / ".todelete" / "2").mkdir(parents=True)
    again = opened()
    assert_equal_bits(again.restore_last(make_state(0)), make_state(4))
    assert {path.name for path in (tmp_path / "last").iterdir()} == {"4"}
    again.save_last(make_state(9))
    assert_equal_bits(again.restore_last(make_state(0)), make_state(9))


@pytest.mark.row("R2")
def test_a_run_killed_at_any_save_goes_on(make_state, opened, tmp_path):
    script = """
import os, pathlib, signal, sys
import jax.numpy as jnp
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.errors import LockedError, MismatchError
from logocap_jax.training.state import TrainState
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]), settings={})
for step in range(1, 6):
    state = TrainState(jnp.asarray(step), {"w": jnp.full(4000, step)}, {}, ())
    checkpoints.save_last(state)
    checkpoints.save_best(state, float(step))
os.kill(os.getpid(), signal.SIGKILL)
"""
    here = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(here)},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode < 0
    checkpoints = opened(settings={})  # the dead process holds no lock
    like = type(make_state(0))(jnp.asarray(0), {"w": jnp.zeros(4000, int)}, {}, ())
    for restored in (checkpoints.restore_last(like), checkpoints.restore_best(like)):
        assert int(restored.step) in (4, 5)
        assert set(restored.params["w"].tolist()) == {int(restored.step)}


@pytest.fixture
def other_settings(settings):
    backbone = settings["backbone"] | {"channels": 48}
    return settings | {"backbone": backbone, "embedding": 8}


@pytest.mark.row("R13")
def test_another_architecture_names_the_differing_settings(
    opened, make_state, other_settings, tmp_path
):
    first = opened()
    first.save_last(make_state(1))
    first.close()
    with pytest.raises(MismatchError, match="was made with") as caught:
        opened(settings=other_settings).restore_last(make_state(0))
    assert caught.value.exit_code == 3
    assert steps(tmp_path / "last") == [1]
    assert str(caught.value) == (
        f"checkpoint {tmp_path}/last/1 was made with backbone.channels=32 (config: "
        "48), embedding=None (config: 8); use its settings, or another --workdir"
    )


def test_a_reader_may_have_other_settings_of_the_same_shapes(
    opened, make_state, other_settings
):
    writer = opened()
    writer.save_last(make_state(1))
    writer.close()
    reader = opened(settings=other_settings, read_only=True)
    assert_equal_bits(reader.restore_last(make_state(0)), make_state(1))
    with pytest.raises(ValueError, match=r"backbone.channels=32 \(config: 48\)"):
        reader.restore_last(make_state(0, size=4))


@pytest.mark.row("R13")
def test_other_shapes_of_the_same_settings_are_refused(opened, make_state):
    checkpoints = opened()
    checkpoints.save_last(make_state(1))
    with pytest.raises(MismatchError, match="other arrays than this version") as caught:
        checkpoints.restore_last(make_state(0, size=4))
    assert "\n" not in str(caught.value)


def test_meta_is_json_that_people_can_read(opened, make_state, tmp_path):
    checkpoints = opened()
    checkpoints.save_best(make_state(1), 0.25)
    checkpoints.close()
    meta = json.loads((tmp_path / "best" / "1" / "meta" / "metadata").read_text())
    assert meta["score"] == 0.25
    assert meta["settings"]["backbone"] == {"channels": 32, "modules": [1, 4, 3]}
    assert meta["leaves"]["params/kernel"]["shape"] == [2, 3]


@pytest.mark.row("R15")
def test_a_second_writer_is_refused(opened, settings, tmp_path):
    first = opened()
    with pytest.raises(LockedError, match="that another process trains") as caught:
        Checkpoints(tmp_path, settings=settings)
    assert caught.value.exit_code == 8
    assert "\n" not in str(caught.value)
    first.close()
    opened()


@pytest.mark.row("R15")
def test_a_reader_leaves_a_running_writer_alone(opened, make_state, tmp_path):
    writer = opened()
    writer.save_last(make_state(1))
    writer.restore_last(make_state(0))  # waits
    half = tmp_path / "last" / "2.orbax-checkpoint-tmp"
    half.mkdir()
    before = sorted(tmp_path.rglob("*"))
    reader = opened(read_only=True)
    assert_equal_bits(reader.restore_last(make_state(0)), make_state(1))
    reader.close()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_reader_of_nothing_makes_nothing(settings, make_state, tmp_path):
    reader = Checkpoints(tmp_path / "run", settings=settings, read_only=True)
    assert reader.restore_best(make_state(0)) is None
    assert reader.restore_last(make_state(0)) is None
    reader.close()
    assert not list(tmp_path.iterdir())
