import argparse
import hashlib
import itertools

import numpy as np
import pytest

from logocap_jax.cli import convert
from logocap_jax.weights import files


def _run(*arguments):
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return convert.run(parser.parse_args([str(argument) for argument in arguments]))


def sum_of(path):
    if path.is_dir():
        return ""
    return f", SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def tiny_file(parity_dir):
    return parity_dir / "tiny" / "weights.npz"


def test_weights_travel_through_every_format_unchanged(tmp_path, tiny_file, capsys):
    route = [
        tiny_file,
        tmp_path / "a.safetensors",
        tmp_path / "b",
        tmp_path / "c.pth.tar",
    ]
    for source, target in itertools.pairwise(route):
        assert _run(source, target) == 0
        read, wrote = capsys.readouterr().out.splitlines()[-2:]
        assert read == f"read {source}{sum_of(source)}"
        assert wrote.startswith(f"wrote {target} (")
        assert wrote.endswith(f"){sum_of(target)}")
    first, last = (files.read_file(path) for path in (route[0], route[-1]))
    assert first.keys() == last.keys()
    for key, array in first.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(last[key], array, strict=True)


def test_option_decides_over_suffix(tmp_path, tiny_file):
    _run(tiny_file, tmp_path / "a.safetensors", "--to", "torch")
    assert (tmp_path / "a.safetensors").read_bytes().startswith(b"PK")


def test_misfit_prints_the_table_and_writes_only_if_partial(
    tmp_path, tiny_file, capsys
):
    with np.load(tiny_file) as file:
        state = {key: file[key] for key in file if not key.startswith("joints_mlp")}
    state["classifier.weight"] = np.zeros((2, 2), np.float32)
    source, target = tmp_path / "a.npz", tmp_path / "b.safetensors"
    np.savez(source, **state)
    with pytest.raises(
        ValueError, match=r"a\.npz: 1 arrays unused .* 7 arrays missing"
    ):
        _run(source, target)
    table = capsys.readouterr().out
    assert "unused           1" in table
    assert "  classifier.weight" in table
    assert "  params/maps" in table
    assert not target.exists()
    assert _run(source, target, "--partial") == 0
    assert "maps" not in files.load_weights(target)["params"]


def test_unusable_arguments_are_refused(tmp_path, tiny_file):
    with pytest.raises(ValueError, match="no such weights"):
        _run(tmp_path / "absent", tmp_path / "b")
    with pytest.raises(ValueError, match="exists; remove it"):
        _run(tiny_file, tmp_path)


@pytest.mark.parametrize("name", ["a.onnx", "b.c.onnx"])
def test_a_program_is_not_converted_but_exported(tmp_path, tiny_file, name):
    with pytest.raises(ValueError, match=rf"logocap export .*{name} --weights"):
        _run(tiny_file, tmp_path / name)
    assert not list(tmp_path.iterdir())
