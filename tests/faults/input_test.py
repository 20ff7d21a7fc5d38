"""Input that fails while a run is under way: its workers, its files."""

import shutil
import signal

import psutil
import pytest

ENDLESS = (
    *("--config.epochs=10000.0", "--config.eval_every=10000.0"),
    "--config.checkpoint_every=10000.0",
)


def workers_of(workdir):
    """The processes that load for the run in a folder."""
    (trainer,) = (
        process
        for process in psutil.process_iter(["cmdline"])
        if f"--workdir={workdir}" in (process.info["cmdline"] or ())
    )
    children = trainer.children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def own_lines(text):
    """Without what Python says of shared memory that it cleans up."""
    return [line for line in text.splitlines() if "resource_tracker" not in line]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGKILL, "was killed by SIGKILL"),
        pytest.param(
            *(signal.SIGSTOP, "brought no batch for 20 s (killed)"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_whose_worker_dies_or_is_stuck_ends_in_one_line(
    start, tmp_path, number, reason
):
    run = start(
        tmp_path, *ENDLESS, "--config.data.num_workers=2", "--config.data.stall_s=20.0"
    )
    run.wait_for("step 2/")
    workers = workers_of(tmp_path)
    assert len(workers) == 2
    workers[1].send_signal(number)
    ended = run.end(timeout_s=60)
    assert ended.code == 9, ended
    assert own_lines(ended.error) == [
        f"error: got an input worker that {reason}, expected a batch; look at its "
        "memory and disk, then run again, with fewer or more patient workers if need be"
    ]
    assert not any(worker.is_running() for worker in workers)


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
        path.write_bytes(path.read_bytes()[:-2])
    ended = run.end()
    assert ended.code == 4, ended
    warning, error = own_lines(ended.error)
    assert "bad record 1, of 1 that may be; others take its place: " in warning
    assert f"({first.name!r}): got a truncated or damaged JPEG" in warning
    assert error.startswith(
        "error: got 2 bad records, expected at most 1 (max_bad_records), the last one: "
    )
    assert f"({second.name!r}): got a truncated or damaged JPEG" in error
