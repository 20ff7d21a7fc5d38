"""One of two processes is killed: the other ends, the run goes on, bit-identical."""

import signal

import pytest

from tests.faults.kill_test import flip_a_bit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(start_two, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    ends = [run.end() for run in start_two(workdir, "--config.epochs=6.0")]
    assert [ended.code for ended in ends] == [0, 0], ends
    return workdir


@pytest.mark.parametrize(("killed", "damages"), [(0, False), (1, True)])
def test_the_survivor_ends_and_the_run_goes_on_with_the_same_bits(
    start_two, undisturbed, outcome, tmp_path, killed, damages
):
    runs = start_two(tmp_path, "--config.epochs=6.0")
    runs[0].wait_for("step 4/")
    runs[killed].send(signal.SIGKILL)
    # Heartbeat 30 s, and what JAX adds.
    survivor = runs[1 - killed].end(timeout_s=60)
    assert survivor.code != 0
    assert runs[killed].end(timeout_s=60).code == -signal.SIGKILL
    if damages:
        flip_a_bit(tmp_path / "checkpoints" / "last")
    ends = [run.end() for run in start_two(tmp_path, "--config.epochs=6.0")]
    assert [ended.code for ended in ends] == [0, 0], ends
    assert (", and set aside as" in ends[0].out) is damages
    assert "going on after step" in ends[0].out
    assert outcome(tmp_path) == outcome(undisturbed)
