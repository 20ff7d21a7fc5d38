"""What somebody has who installs the package: it trains, away from the repository."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from tests import programs

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEPENDENCIES = pathlib.Path(jax.__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with the wheel, and what it depends on from that of the tests."""
    pytest.importorskip("hatchling", reason="builds the wheel; in the extra [dev]")
    wheels, folder = (tmp_path_factory.mktemp(name) for name in ("wheels", "env"))
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT]
    subprocess.run(build, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    (wheel,) = wheels.iterdir()
    install = ["--python", folder / "bin/python", "install", "--no-deps", wheel]
    subprocess.run([*pip, *install], check=True)
    return folder, packages


@pytest.fixture(scope="module")
def run(environment, tmp_path_factory):
    """Runs a command in an empty folder."""
    empty = tmp_path_factory.mktemp("empty")
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL")}

    def run_(program, *arguments):
        done = subprocess.run(
            [environment[0] / "bin" / program, *arguments],
            cwd=empty,
            env=kept | programs.one_device(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return empty, run_


def test_a_wheel_adds_two_names_to_those_of_others(environment):
    _, packages = environment
    names = {path.name for path in packages.iterdir()} - {"dependencies.pth"}
    assert {n for n in names if not n.endswith((".dist-info", "__pycache__"))} == {
        "logocap_jax",
        "data_pipeline",
    }


def test_an_installed_package_trains_evaluates_and_predicts(run, environment):
    empty, run_ = run
    place = run_("python", "-c", "import logocap_jax; print(logocap_jax.__file__)")
    assert place.startswith(str(environment[0]))
    assert run_("logocap", "--version") == run_(
        "python", "-m", "logocap_jax", "--version"
    )
    drawn = ["--train", "8", "--val", "4", "--size", "96", "--seed", "0"]
    run_("logocap", "prepare", "synthetic", "--out", "demo/data", *drawn)
    config = ["--config", "demo", "--workdir", "run"]
    trained = run_("logocap", "train", *config, "--config.epochs=1")
    assert "step 2/2" in trained or "of 2" in trained
    run_("logocap", "eval", *config, "--out", "scores")
    assert "AP" in json.loads((empty / "scores/metrics.json").read_text())["logocap"]
    images = str(empty / "demo/data/val2017")
    run_("logocap", "predict", images, "--weights", "run", "--json", "poses.json")
    assert (empty / "poses.json").is_file()
