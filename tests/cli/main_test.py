import os
import subprocess
import sys

import pytest

import logocap_jax
from logocap_jax import cli
from logocap_jax.cli.settings import expand_overrides, parse_settings


def test_ctrl_c_ends_a_command_in_one_line(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.doctor, "run", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_help_says_what_is_taken_where_nothing_is_given(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["predict", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "poses with a lower score are left out (default 0.02)" in told
    assert "None" not in told
    assert "[]" not in told


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"logocap {logocap_jax.__version__}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--config.a.b=1=2"], ["--set=a.b=1=2"]),
        (["--config.a", "-1"], ["--set=a=-1"]),
        (["--config.a", "--draw", "3"], ["--set=a=True", "--draw", "3"]),
        (["--noconfig.a.b"], ["--set=a.b=False"]),
        (["--config.a"], ["--set=a=True"]),
        (["--config", "a.py", "--set", "a=1"], ["--config", "a.py", "--set", "a=1"]),
    ],
    ids=str,
)
def test_overrides_have_two_spellings(given, expected):
    assert list(expand_overrides(given)) == expected


@pytest.mark.parametrize("command", ["train", "eval", "plan"])
def test_all_commands_with_a_config_take_overrides(command):
    options = {"train": ["--workdir=a"], "eval": [], "plan": ["--topology=cpu:1"]}
    given = ["--config=demo", "--config.seed=1", "--set", "method.dtype=bfloat16"]
    args = cli.parse([command, *given, *options[command]])
    assert args.config == "demo"
    assert args.set == ["seed=1", "method.dtype=bfloat16"]


def test_settings_of_a_method_are_given_in_the_same_language():
    given = ["--config.method.window_radius=7", "--set", "refine_with=kem"]
    args = cli.parse(["predict", "a.jpg", "--weights=w", *given, "--set=dtype='a'"])
    expected = {"window_radius": 7, "refine_with": "kem", "dtype": "a"}
    assert parse_settings(args.set) == expected


@pytest.mark.parametrize("text", ["a", "a=", "a=1x", "a=f()"])
def test_settings_without_a_value_are_refused(text):
    with pytest.raises(ValueError, match=r"--set a.*: expected KEY=VALUE"):
        parse_settings([text])


def test_an_unknown_option_names_a_near_one(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["eval", "--config=demo", "--analize"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: got --analize, which the command does not take; ")
    assert line.endswith("did you mean --analyse?")


@pytest.mark.parametrize("platforms", ["nonsense", "cuda", "tpu", "rocm", "cuda,nope"])
def test_a_device_that_is_not_there_is_told_in_one_line(platforms):
    code = (
        "import logocap_jax.cli as cli, jax\n"
        "cli.COMMANDS['doctor'].run = lambda args: print(jax.devices()[0].platform)\n"
        "print('code', cli.main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAX_PLATFORMS": platforms},
        capture_output=True,
        text=True,
        check=False,
    )
    if platforms in done.stdout or "gpu" in done.stdout:
        pytest.skip(f"this machine has {platforms}")
    assert done.stdout == "code 2\n"
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: JAX_PLATFORMS={platforms}: got no such device")
    assert "Traceback" not in done.stderr
