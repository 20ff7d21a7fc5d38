"""One of two processes is killed; a run goes on with another number of processes."""

import signal

import pytest

from tests import programs
from tests.faults.injector import FlipBit, damage, largest_of_newest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(start_two, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    ends = [run.end() for run in start_two(workdir, "--config.epochs=6.0")]
    assert [ended.code for ended in ends] == [0, 0], ends
    return workdir


@pytest.mark.row("R5", "exit codes")
@pytest.mark.parametrize(("killed", "damages"), [(0, False), (1, True)])
def test_the_survivor_ends_and_the_run_goes_on_with_the_same_bits(
    start_two, undisturbed, outcome, tmp_path, killed, damages
):
    runs = start_two(tmp_path, "--config.epochs=6.0")
    runs[0].wait_for("step 4/")
    runs[killed].send(signal.SIGKILL)
    # Heartbeat 30 s, and what JAX adds.
    survivor = runs[1 - killed].end(timeout_s=60)
    assert survivor.code == -signal.SIGABRT
    assert runs[killed].end(timeout_s=60).code == -signal.SIGKILL
    if damages:
        damage(largest_of_newest(tmp_path / "checkpoints" / "last"), FlipBit())
    ends = [run.end() for run in start_two(tmp_path, "--config.epochs=6.0")]
    assert [ended.code for ended in ends] == [0, 0], ends
    assert (", and set aside as" in ends[0].out) is damages
    assert "going on after step" in ends[0].out
    assert outcome(tmp_path) == outcome(undisturbed)


@pytest.mark.row("R14")
def test_a_run_of_one_process_goes_on_in_two_and_one_of_two_in_one(
    start, start_two, undisturbed, tmp_path
):
    assert start(tmp_path).end().code == 0
    ends = [run.end() for run in start_two(tmp_path, "--config.epochs=3.0")]
    assert [ended.code for ended in ends] == [0, 0], ends
    assert "going on after step 4 of 6" in ends[0].out
    four_devices = programs.one_thread(devices=4)
    flags = ("--config.epochs=7.0", "--config.data.num_workers=1")
    ended = start(undisturbed, *flags, environment=four_devices).end()
    assert ended.code == 0, ended
    assert "4 devices; going on after step 12 of 14" in ended.out
