"""A run that keeps a moving average of its weights: who takes which."""

import contextlib
import json

import jax
import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.experiment.run import resolve
from logocap_jax.weights.files import load_variables, load_weights
from logocap_jax.weights.settings import build_fitting, load_settings
from logocap_jax.weights.trees import flatten
from tests.runs import evaluate_from_config, train_from_config

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def averaged_config(quick_config):
    config = quick_config.copy_and_resolve_references()
    config.ema_decay, config.epochs = 0.9, 1
    return config


@pytest.fixture(scope="module")
def workdir(averaged_config, tmp_path_factory):
    """A run of two steps and an evaluation."""
    workdir = tmp_path_factory.mktemp("averaged") / "run"
    train_from_config(averaged_config, workdir)
    return workdir


@pytest.fixture(scope="module")
def state(averaged_config, workdir):
    run = resolve(averaged_config)
    with contextlib.closing(run.open_checkpoints(workdir, data=None)) as checkpoints:
        return jax.device_get(checkpoints.restore_best(run.state_shapes()))


def assert_same(found, expected):
    found, expected = flatten(found), flatten(expected)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_the_average_is_the_runs_answer_and_the_raw_weights_are_there(workdir, state):
    assert int(state.step) == 2
    assert_same(load_variables(workdir), state.ema)
    assert_same(load_variables(workdir, raw=True), state.variables)
    kernels = [
        flatten(tree)["params/dense/conv0/kernel"]
        for tree in (state.ema, state.variables)
    ]
    assert not np.array_equal(*kernels)
    settings, variables = load_settings(workdir, {})
    build_fitting(workdir, settings, variables)
    assert_same(variables, state.ema)


@pytest.mark.parametrize("flags", [(), ("--raw",)])
def test_convert_takes_either(workdir, state, tmp_path, flags):
    target = tmp_path / "weights.safetensors"
    assert cli.main(["convert", str(workdir), str(target), *flags]) == 0
    assert_same(load_weights(target), state.variables if flags else state.ema)


def test_both_are_evaluated_and_the_average_tells_the_best(
    workdir, averaged_config, tmp_path
):
    for name, sources in (
        ("run", {"workdir": workdir, "weights": None}),
        ("average", {"workdir": None, "weights": workdir}),
    ):
        out = tmp_path / name
        evaluate_from_config(averaged_config, out=out, split="val", **sources)
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())
    average = json.loads((tmp_path / "average" / "metrics.json").read_text())
    assert {f"{name}_ema": row for name, row in average.items()}.items() <= rows.items()
    assert {*rows} == {*average, *(f"{name}_ema" for name in average)}
    found = tmp_path / "run" / "results_peaks_ema.json"
    expected = tmp_path / "average" / "results_peaks.json"
    assert found.read_text() == expected.read_text()
    meta = workdir / "checkpoints" / "best" / "2" / "meta" / "metadata"
    assert json.loads(meta.read_bytes())["score"] == rows["peaks_ema"]["AP"]
