"""SIGTERM and Ctrl-C, as a scheduler and a terminal send them: to all processes."""

import signal

import pytest


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [
        (signal.SIGTERM, 143, 2),
        pytest.param(signal.SIGINT, 130, 0, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_group_saves_the_step_under_way_and_ends_the_run(
    start, tmp_path, number, code, workers
):
    run = start(
        tmp_path,
        f"--config.data.num_workers={workers}",
        # No checkpoint of its own, and no end, before the signal.
        "--config.checkpoint_every=1000.0",
        "--config.epochs=1000.0",
        "--config.eval_every=1000.0",
    )
    run.wait_for("step 2/")
    run.send(number, to_group=True)
    ended = run.end()
    assert ended.code == code, ended.error
    # Python says what it has cleaned up: batches that nobody took.
    errors = ended.error.splitlines()
    assert [text for text in errors if "resource_tracker" not in text] == []
    *_, line = ended.out.splitlines()
    assert f"{number.name}: step " in line
    assert line.endswith(
        f" of 2000 is saved in {tmp_path}; run the same command again to go on"
    )
    (saved,) = (tmp_path / "checkpoints" / "last").iterdir()
    assert f"step {saved.name} of 2000 is saved" in line
    assert f"step {saved.name}/2000" in ended.out
    assert f"step {int(saved.name) + 1}/2000" not in ended.out


@pytest.mark.slow
def test_a_second_control_c_ends_at_once(start, tmp_path):
    run = start(tmp_path, "--config.epochs=1000.0", "--config.eval_every=0.5")
    run.wait_for("step 1/")
    run.send(signal.SIGINT)
    run.send(signal.SIGINT)
    assert run.end().code in (-signal.SIGINT, 130)
