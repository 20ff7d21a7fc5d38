"""A signal to one of two processes stops both at the same step."""

import signal
import socket

import pytest

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("signalled", [0, 1])
def test_both_processes_save_the_same_step(start, tmp_path, signalled):
    port = free_port()
    runs = [
        start(
            tmp_path,
            *(f"--coordinator=localhost:{port}", "--num_processes=2"),
            *(f"--process_id={index}", "--config.epochs=1000.0"),
            *("--config.checkpoint_every=1000.0", "--config.eval_every=1000.0"),
        )
        for index in range(2)
    ]
    runs[0].wait_for("step 2/")
    runs[signalled].send(signal.SIGTERM)
    ends = [run.end() for run in runs]
    assert [ended.code for ended in ends] == [143, 143], ends
    (saved,) = (tmp_path / "checkpoints" / "last").iterdir()
    assert f"SIGTERM: step {saved.name} of 2000 is saved in {tmp_path}; " in ends[0].out
