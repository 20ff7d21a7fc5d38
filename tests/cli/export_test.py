import json

import jax
import jax.export
import numpy as np
import pytest

from logocap_jax import cli


def export(*arguments):
    return cli.main(["export", *map(str, arguments)])


@pytest.mark.parity
def test_maps_of_any_size_are_exported_with_their_json(parity_dir, tmp_path, capsys):
    out = tmp_path / "dense.stablehlo"
    weights = parity_dir / "tiny" / "weights.npz"
    options = ["--what=dense", "--size=dynamic", "--batch=1", "--no-flip-test"]
    assert export(out, "--weights", weights, *options, "--set", "dtype='bfloat16'") == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=3) == [
        "in",
        "image",
        "uint8",
        "[1, 64*height, 64*width, 3]",
    ]
    assert last.startswith(f"wrote {out} (")
    described = json.loads((tmp_path / "dense.stablehlo.json").read_text())
    assert described["settings"]["dtype"] == "bfloat16"
    assert described["settings"]["flip_test"] is False
    assert len(list(tmp_path.iterdir())) == 2
    exported = jax.export.deserialize(bytearray(out.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), np.uint8)
    maps = exported.call(pixels)
    assert maps["heatmaps"].shape == (1, 16, 32, 18)
    assert maps["offsets"].shape == (1, 16, 32, 17, 2)
    assert np.ptp(maps["heatmaps"]) > 0
    assert export(out, "--weights", weights, *options) == 2
    assert "exists; remove it or name another target" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "512"], "--size 512: expected HxW, such as 512x704, or dynamic"),
        (["--size", "500x704"], "got a side of 500 px, expected a multiple of 64"),
        (["--short-side", "0"], "--short-side 0: expected 1 or more"),
        (["--batch", "many"], "--batch many: expected a number, or dynamic"),
        (["--batch", "0"], "got a batch of 0, expected 1 or more"),
        (["--platforms", "cpu,abacus"], "got platforms ['cpu', 'abacus'], expected"),
        (["--set", "a"], "--set a: expected KEY=VALUE"),
        ([], "absent.npz: no such weights, expected a file, the folder"),
        (
            ["--weights", "file.npz"],
            "file.npz: got 1 arrays such as 'nothing', expected weights of one of",
        ),
    ],
)
def test_bad_arguments_end_in_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    np.savez("file.npz", nothing=np.zeros(3))
    assert export("out", "--weights", "absent.npz", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]
