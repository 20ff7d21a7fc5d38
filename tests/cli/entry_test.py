import os
import pathlib
import subprocess
import sys

import pytest

from logocap_jax import cli
from logocap_jax.cli import train
from logocap_jax.training.errors import DivergedError, SaveError
from tests import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = "--config=configs/demo.py"
WORKDIR = "--workdir=never_made"


def run(script, *flags):
    """A script in a process of its own."""
    return subprocess.run(
        [sys.executable, script, *flags],
        cwd=ROOT,
        env=os.environ | programs.one_device(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def call(capsys, monkeypatch):
    """Does what a script does, in this process; its exit code and what it prints."""
    monkeypatch.chdir(ROOT)

    def call_(command, *flags):
        try:
            code = cli.main([command, *flags])
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return call_


@pytest.mark.row("configs")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            [DEMO, WORKDIR, "--config.nope=1"],
            "got --config.nope, but config has no 'nope'; it has ['accumulate', ",
        ),
        (
            [DEMO, WORKDIR, "--config.eval.batch_sze=1"],
            "got --config.eval.batch_sze, but config.eval has no 'batch_sze'; it has "
            "['batch_size', 'detections', 'short_side']; did you mean 'batch_size'?",
        ),
        (
            ["--config", "configs/demo.py", WORKDIR, "--noconfig.method.flip_tset"],
            "got --config.method.flip_tset, but config.method has no 'flip_tset'",
        ),
        (
            [DEMO, WORKDIR, "--config.seed.x=1"],
            "got --config.seed.x, but config.seed has no 'x'; it has nothing",
        ),
        ([DEMO, WORKDIR, "--config.seed=abc"], "got --config.seed=abc, expected one"),
        (
            ["--config=configs/nope.py", WORKDIR],
            "got --config=configs/nope.py, expected",
        ),
        (
            [DEMO, WORKDIR, "--wrkdir=a"],
            "got --wrkdir=a, which the command does not take; did you mean --workdir?",
        ),
        ([DEMO, WORKDIR, "stray"], "got stray, which the command does not take"),
        ([DEMO], "the following arguments are required: --workdir"),
        ([WORKDIR], "the following arguments are required: --config"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(call, flags, expected):
    code, out, error = call("train", *flags)
    assert code == 2
    assert out == ""
    assert error.startswith(f"error: {expected}")
    assert error.count("\n") == 1


@pytest.mark.row("configs")
def test_a_mistake_that_the_run_finds_is_one_line():
    done = run("train.py", DEMO, WORKDIR, "--config.data.dir=nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere: got neither a prepared data set nor")
    assert done.stderr.count("\n") == 1
    assert not (ROOT / "never_made").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "got --workdir=None --weights=None --out=None; expected"),
        (["--weights=a"], "got --workdir=None --weights=a --out=None; expected"),
        ([WORKDIR, "--weights=a", "--out=b"], "got --workdir=never_made --weights=a"),
    ],
)
def test_evaluation_says_what_it_needs(call, flags, expected):
    code, _, error = call("eval", DEMO, *flags)
    assert code == 2
    assert error.startswith(f"error: {expected}")
    assert error.count("\n") == 1


def test_a_script_is_its_command():
    done = run("eval.py", DEMO)
    assert done.returncode == 2
    assert done.stderr.startswith("error: got --workdir=None --weights=None --out=None")


def fails(error):
    def body():
        raise error

    return body


@pytest.mark.row("exit codes")
@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        (fails(DivergedError("too far")), 6, "error: too far\n"),
        (fails(SaveError("no space")), 7, "error: no space\n"),
        (fails(ValueError("other")), 2, "error: other\n"),
        (fails(KeyboardInterrupt), 130, "error: interrupted\n"),
        (lambda: 143, 143, ""),
        (lambda: None, 0, ""),
    ],
)
def test_the_exit_code_tells_why_a_script_has_ended(
    call, monkeypatch, body, code, error
):
    def run_(args):
        with train.logging_and_processes(args):
            return body() or 0

    monkeypatch.setattr(cli.train, "run", run_)
    assert call("train", "--config=demo", "--workdir=never_made") == (code, "", error)
