"""Each exit code of docs/reliability.md, by `train.py` itself."""

import pathlib
import shutil
import signal

import pytest

from tests.faults.injector import FlipBit, FullDisk, Sent, Truncate, damage, files

pytestmark = [pytest.mark.row("exit codes"), pytest.mark.slow]

ENDLESS = ("--config.epochs=1000.0", "--config.eval_every=1000.0")


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory) -> pathlib.Path:
    """The folder of a run that has come to its end."""
    workdir = tmp_path_factory.mktemp("finished")
    assert start(workdir).end().code == 0
    return workdir


def ends_before_training(start, workdir, *flags):
    ended = start(workdir, *flags).end()
    assert "step 1/" not in ended.out
    return ended


# What is wrong -> flags, exit code, how the line begins.
REFUSED = {
    "other settings": (
        ["--config.method.channels=8"],
        3,
        "checkpoint {run}/checkpoints/last/4 was made with method.channels=4 (",
    ),
    "other batches": (["--config.batch_size=16"], 3, "checkpoint {run}/checkpoints/"),
    "no such setting": (["--config.method.name=dekr"], 2, "got method 'dekr', expect"),
    "no data": (["--config.data.dir=nowhere"], 2, "nowhere: got neither a prepared"),
}


@pytest.mark.parametrize(("flags", "code", "line"), REFUSED.values(), ids=REFUSED)
def test_a_run_that_does_not_fit_is_refused(start, finished, flags, code, line):
    ended = ends_before_training(start, finished, *flags)
    assert ended.code == code, ended
    (error,) = ended.errors
    assert error.startswith("error: " + line.format(run=finished))


def test_bad_data_end_with_code_4(start, drawn_dir, tmp_path):
    data = shutil.copytree(drawn_dir, tmp_path / "data")
    for path in files(data / "train2017"):
        damage(path, Truncate(0.5))
    ended = start(tmp_path / "run", f"--config.data.dir={data}").end()
    assert ended.code == 4, ended
    assert "got a truncated or damaged JPEG" in ended.errors[-1]


def test_damaged_checkpoints_only_end_with_code_5(start, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    for path in files(run / "checkpoints" / "last"):
        damage(path, FlipBit())
    ended = ends_before_training(start, run)
    assert ended.code == 5, ended
    assert "got only damaged checkpoints, expected a whole one" in ended.errors[-1]


def test_a_run_that_diverges_ends_with_code_6(start, tmp_path):
    flags = ("--config.learning_rate=1e30", "--config.max_skipped_in_row=2")
    ended = start(tmp_path, *ENDLESS, *flags).end()
    assert ended.code == 6, ended
    (error,) = ended.errors
    assert "got losses or gradients that are not finite in the last 2 steps" in error


def test_a_full_disk_ends_a_run_with_code_7_and_with_space_it_goes_on(start, tmp_path):
    run = start(tmp_path, *ENDLESS)
    # By then the checkpoint of step 2 is whole, as one save waits for another.
    run.meet(FullDisk(max_bytes=3000, after="step 4/"))
    ended = run.end()
    assert ended.code == 7, ended
    assert len(ended.errors) == 1, ended.errors
    assert "could not write" in ended.errors[0]
    again = start(tmp_path, *ENDLESS)
    again.wait_for("going on after step")
    again.meet(Sent(signal.SIGTERM, after="step "))
    assert again.end().code == 143


def test_a_second_run_in_the_folder_ends_with_code_8_and_harms_nothing(start, tmp_path):
    first = start(tmp_path, *ENDLESS)
    first.wait_for("step 1/")
    second = ends_before_training(start, tmp_path)
    assert second.code == 8, second
    assert "that another process trains" in second.errors[0]
    first.meet(Sent(signal.SIGTERM, after="step "))
    assert first.end().code == 143
