import json
import pathlib

import pytest

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax import cli

CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"
SETTING = "64x64, float32"


def benchmark(kind, *arguments, config=CONFIG):
    quick = ["--rounds=2", "--seconds=0"]
    return cli.main(
        ["benchmark", kind, f"--config={config}", *quick, *map(str, arguments)]
    )


def read_rows(path):
    return {row["key"]: row for row in json.loads(path.read_text())["rows"]}


def test_inference_is_measured_by_stages_and_compared(tmp_path, capsys):
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    assert benchmark("inference", "--people=1,4", f"--json={first}") == 0
    shown = capsys.readouterr()
    assert "  compile predict" in shown.err.splitlines()
    rows = read_rows(first)
    before = ["normalisation", "mirror image", "backbone", "heads", "flip merge"]
    after = ["centre heatmap", "centres", "initial poses", "initial scores", "mesh"]
    after += ["latent", "KAM", "windows", "adaptation", "peaks", "scores"]
    after += ["mesh to scores", "pose NMS", "after-scene", "predict", "whole-path"]
    assert set(rows) == {
        *(f"{name}: batch 1, {SETTING}" for name in before),
        *(f"{name}, {n} people: batch 1, {SETTING}" for name in after for n in (1, 4)),
    }
    whole = rows[f"predict, 4 people: batch 1, {SETTING}"]
    assert whole["timing"]["median_seconds"] > 0
    assert len(whole["timing"]["seconds"]) == 2
    assert whole["flops"] > 0
    assert whole["memory_bytes"] > 0
    assert whole["memory_source"] == "compiled.memory_analysis"
    assert whole["peak_share"] is None  # not given
    path = rows[f"whole-path, 4 people: batch 1, {SETTING}"]
    assert "with JPEG decoding" in path["remark"]
    ratios = json.loads(first.read_text())["ratios"]
    assert f"after-scene / predict, 4 people: batch 1, {SETTING}" in ratios
    assert "\npredict, 4 people  " in shown.out

    options = ["--only=predict", "--peak-tflops=0.001", f"--compare={first}"]
    assert benchmark("inference", *options, "--people=4", f"--json={second}") == 0
    (row,) = read_rows(second).values()
    assert row["peak_share"] == pytest.approx(
        row["flops"] / row["timing"]["median_seconds"] / 1e9
    )
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert any(line.endswith("  1.000") for line in lines if "predict, 4" in line)
    assert f"  then only: backbone: batch 1, {SETTING}" in lines


def test_nothing_runs_where_only_the_memory_is_asked_for(tmp_path, capsys):
    out = tmp_path / "a.json"
    options = ["--compile-only", "--only=backbone", "--batch=1,2", f"--json={out}"]
    assert benchmark("inference", *options, "--dtype=bfloat16") == 0
    rows = read_rows(out)
    assert len(rows) == 2
    assert all(row["timing"] is None for row in rows.values())
    one, two = (rows[f"backbone: batch {n}, 64x64, bfloat16"] for n in (1, 2))
    assert two["flops"] == pytest.approx(2 * one["flops"], rel=0.01)
    assert one["memory_bytes"] < two["memory_bytes"]
    assert 0 < one["accessed"] < two["accessed"]
    shown = capsys.readouterr().out
    assert "accessed" in shown
    assert "median" not in shown


def test_a_topology_is_what_is_compiled_for(tmp_path, capsys):
    out = tmp_path / "a.json"
    options = [
        "--compile-only",
        "--only=initial poses",
        "--topology=cpu:1",
        f"--json={out}",
    ]
    assert benchmark("inference", *options) == 0
    assert capsys.readouterr().out.startswith("1 x cpu, ")
    machine = json.loads(out.read_text())["machine"]
    assert (machine["devices"], machine["backend"]) == (1, "cpu")
    (row,) = read_rows(out).values()
    assert row["memory_bytes"] > 0


def test_training_is_measured_with_its_loop(tmp_path):
    data = tmp_path / "data"
    write_drawn_dataset(data, num_train=8, num_val=1, size=96, seed=0, progress=False)
    out = tmp_path / "a.json"
    assert benchmark("training", "--set", f"data.dir='{data}'", f"--json={out}") == 0
    rows = read_rows(out)
    step = rows[f"train-step: batch 8, {SETTING}"]
    loop = rows[f"train-loop: batch 8, {SETTING}"]
    assert step["remark"] == "the state is updated in place"
    assert step["images_per_second"] == 8 / step["timing"]["median_seconds"]
    assert loop["timing"]["median_seconds"] > 0
    assert loop["flops"] is None


def test_what_does_not_fit_is_told_and_left_out(tmp_path, capsys):
    out = tmp_path / "a.json"
    options = ["--only=initial poses", f"--json={out}"]
    assert benchmark("inference", *options, "--batch=100000000,1") == 1
    (line,) = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("error")
    ]
    assert line.startswith(f"error: batch 100000000, {SETTING}: needs ")
    assert line.endswith(
        "is there; a smaller --batch or --size lowers it, and so does --dtype bfloat16"
    )
    assert list(read_rows(out)) == [f"initial poses, 4 people: batch 1, {SETTING}"]
    assert list(json.loads(out.read_text())["too_large"]) == [
        f"batch 100000000, {SETTING}"
    ]


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("inference", ["--batch=0"], "--batch: got '0', expected numbers such as 1,8"),
        ("inference", ["--size=64"], "--size: got '64', expected HxW such as 512x768"),
        ("inference", ["--size=64x70"], "--size: got 64x70, expected multiples of 32"),
        (
            "inference",
            ["--dtype=int8"],
            "--dtype: got 'int8', expected some of",
        ),
        (
            "inference",
            ["--people=5"],
            "--people: got 5, expected at most the method's 4 slots",
        ),
        ("inference", ["--only=x"], "--only: got ['x'], expected some of normalis"),
        ("inference", ["--set", "method.a=1"], "got --config.method.a, but config.met"),
        (
            "inference",
            ["--set", "method.flip_test='a'"],
            "got --config.method.flip_test='a', e",
        ),
        (
            "inference",
            ["--topology=cpu:2", "--compile-only"],
            "--topology: got cpu:2, expected one device, such as h200:1 or v5e:1x1",
        ),
        ("inference", ["--topology=cpu:1"], "--topology: got cpu:1, expected one dev"),
        ("inference", ["--compare=no.json"], "no.json: no such file, expected one"),
        ("inference", ["--json=no/a.json"], "no/a.json: no such folder"),
        ("inference", ["--rounds=0"], "--rounds: got 0, expected 1 or more"),
        ("inference", ["--weights=no.npz"], "no.npz: no such"),
        ("training", ["--batch=9"], "got --batch=9, which 8 devices do not divide"),
        ("training", ["--size=64x128"], "--size: got batch 8, 64x128, float32, expect"),
        ("training", ["--people=9"], "got 9 people, expected 1 to 8"),
    ],
)
def test_a_bad_option_ends_in_one_line(kind, arguments, message, capsys):
    assert benchmark(kind, *arguments) == 2
    errors = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("error:")
    ]
    assert [error[: len(message) + 7] for error in errors] == [f"error: {message}"]


def test_a_config_that_is_none_ends_in_one_line(tmp_path, capsys):
    empty = tmp_path / "empty.py"
    empty.write_text("")
    for path, message in (
        (
            tmp_path / "no.py",
            "expected a file, or one of ablations, center_offset_w32_coco",
        ),
        (empty, "has no get_config(); see configs/"),
    ):
        assert benchmark("inference", config=path) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
