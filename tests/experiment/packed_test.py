"""Runs packed into one file to hand on."""

import hashlib
import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from logocap_jax import Predictor, cli
from logocap_jax.weights.files import load_variables, read_file
from logocap_jax.weights.settings import saved_settings
from logocap_jax.weights.trees import flatten


def run(*arguments):
    return cli.main(["weights", *map(str, arguments)])


@pytest.fixture
def packed(quick_run, tmp_path, capsys):
    """A packed run, and what packing said."""
    target = tmp_path / "net.safetensors"
    assert run("pack", quick_run, target, "--licence", "CC0") == 0
    return target, capsys.readouterr().out


def test_a_packed_run_is_as_the_run(packed, quick_run):
    target, told = packed
    sum_ = hashlib.sha256(target.read_bytes()).hexdigest()
    assert re.match(rf"packed {quick_run} to {target}, AP [\d.]+, licence: CC0\n", told)
    assert f"SHA-256 {sum_}; others use it by --weights net.safetensors or" in told
    assert saved_settings(target) == saved_settings(quick_run)
    expected = flatten(load_variables(quick_run))
    found = read_file(target)
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
    with safe_open(target, framework="numpy") as stored:
        about = json.loads(stored.metadata()["logocap_jax"])
    assert about["licence"] == "CC0"
    assert about["short_side"] > 0


def test_a_packed_file_is_verified(packed, capsys, tmp_path):
    target, _ = packed
    assert run("verify", target) == 0
    assert "as it was packed" in capsys.readouterr().out
    arrays = load_file(target)
    with safe_open(target, framework="numpy") as stored:
        about = stored.metadata()
    arrays[next(iter(arrays))].flat[0] += 1
    save_file(arrays, tmp_path / "other.safetensors", metadata=about)
    with pytest.raises(ValueError, match="got other numbers than were packed"):
        read_file(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.pth", "expected a name that ends in .safetensors"),
        ("old.safetensors", "exists"),
    ],
)
def test_a_target_of_packing_is_checked_first(
    quick_run, tmp_path, capsys, name, message
):
    (tmp_path / "old.safetensors").touch()
    assert run("pack", quick_run, tmp_path / name) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "old.safetensors").read_bytes() == b""


def test_runs_and_packed_files_are_used_at_the_size_of_their_evaluation(
    packed, quick_run, quick_config
):
    side = quick_config.eval.short_side
    assert side != 512
    for path in (quick_run, packed[0]):
        predictor = Predictor.from_weights(path)
        assert predictor.input_size((200, 100)) == (2 * side, side)
