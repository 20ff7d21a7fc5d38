"""Input that fails while a run is under way: its workers, its files."""

import shutil
import signal

import pytest

from tests.faults.injector import Sent, Truncate, damage

ENDLESS = (
    *("--config.epochs=10000.0", "--config.eval_every=10000.0"),
    "--config.checkpoint_every=10000.0",
)


@pytest.mark.row("R16", "exit codes")
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "was killed by SIGKILL"),
        pytest.param(
            *(signal.SIGSTOP, "brought no batch for 40 s (killed)"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_whose_worker_dies_or_is_stuck_ends_in_one_line(
    start, tmp_path, number, reason
):
    run = start(
        tmp_path, *ENDLESS, "--config.data.num_workers=2", "--config.data.stall_s=40.0"
    )
    run.wait_for("step 1/")
    workers = run.workers()
    assert len(workers) == 2
    run.meet(Sent(number, after="step 2/", to="worker"))
    ended = run.end(timeout_s=90)
    assert ended.code == 9, ended
    assert ended.errors == [
        f"error: got an input worker that {reason}, expected a batch; look at its "
        "memory and disk, then run again, with fewer or more patient workers if need be"
    ]
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.row("images")
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_goes_on_without_a_bad_record_and_ends_at_one_too_many(
    start, drawn_dir, tmp_path, workers
):
    data = shutil.copytree(drawn_dir, tmp_path / "data")
    first, second, *_ = sorted((data / "train2017").iterdir())
    run = start(
        *(tmp_path / "run", *ENDLESS, f"--config.data.dir={data}"),
        *("--config.data.max_bad_records=1", f"--config.data.num_workers={workers}"),
    )
    for step, path in ((2, first), (200, second)):
        run.wait_for(f"step {step}/")
        damage(path, Truncate(0.999))
    ended = run.end()
    assert ended.code == 4, ended
    warning, error = ended.errors
    assert "bad record 1, of 1 that may be; others take its place: " in warning
    assert f"({first.name!r}): got a truncated or damaged JPEG" in warning
    assert error.startswith(
        "error: got 2 bad records, expected at most 1 (max_bad_records), the last one: "
    )
    assert f"({second.name!r}): got a truncated or damaged JPEG" in error
