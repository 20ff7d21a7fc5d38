"""A signal to one of two processes, or to both, stops both at the same step."""

import signal

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.row("R6")
@pytest.mark.parametrize("signalled", [[0], [1], [0, 1]], ids=str)
def test_both_processes_save_the_same_step(start_two, tmp_path, signalled):
    runs = start_two(
        tmp_path,
        *("--config.epochs=1000.0", "--config.checkpoint_every=1000.0"),
        "--config.eval_every=1000.0",
    )
    runs[0].wait_for("step 2/")
    for index in signalled:
        runs[index].send(signal.SIGTERM)
    ends = [run.end() for run in runs]
    assert [ended.code for ended in ends] == [143, 143], ends
    (saved,) = (tmp_path / "checkpoints" / "last").iterdir()
    assert f"SIGTERM: step {saved.name} of 2000 is saved in {tmp_path}; " in ends[0].out
