"""Two methods written for these tests, each registered by one line.

The first goes through every command; the second has a step on the host, parts with
rates of their own, and masks at stride 2. No file outside `tests/toys` knows them.
"""

import json
import pathlib

import jax
import numpy as np
import pytest

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax import Predictor, cli
from logocap_jax.methods import METHODS, build_method
from logocap_jax.structures import View
from logocap_jax.weights.files import load_variables, load_weights
from logocap_jax.weights.trees import flatten

CONFIG = pathlib.Path(__file__).with_name("config.py")
TOYS = ("peaks", "host")


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        for name in TOYS:
            patch.setitem(METHODS, name, f"tests.toys.methods.{name}")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("toys") / "data"
    write_drawn_dataset(out, num_train=8, num_val=2, size=96, seed=0, progress=False)
    return out


@pytest.fixture(scope="module", params=TOYS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def run(name, data, tmp_path_factory):
    """A run of six steps, evaluated twice."""
    workdir = tmp_path_factory.mktemp(name) / "run"
    call("train", name, data, "--workdir", workdir)
    return workdir


def call(command, name, data, *arguments):
    code = cli.main(
        [
            command,
            f"--config={CONFIG}:{name}",
            f"--config.data.dir={data}",
            *map(str, arguments),
        ]
    )
    assert code == 0


@pytest.fixture
def photograph(data):
    return min((data / "val2017").iterdir())


def answers(name):
    return {"peaks": "peaks", "host": "grouped"}[name]


def test_it_trains_and_its_metrics_are_written(name, run):
    text = (run / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    losses = [line["loss/total"] for line in lines if "loss/total" in line]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    term = {"peaks": "loss/peaks", "host": "loss/maps"}[name]
    assert term in lines[0]
    assert ("count/people" in lines[0]) is (name == "peaks")
    assert any(f"eval/{answers(name)}/AP" in line for line in lines)


def test_a_frozen_part_and_its_statistics_stay_while_the_other_learns(name, run):
    if name != "host":
        pytest.skip("has no parts")
    trained = load_variables(run)
    method = build_method("host", {"channels": 4})
    fresh = jax.device_get(method.init(jax.random.key(0)))
    for leaf in ("kernel", "bias"):
        np.testing.assert_array_equal(
            trained["params"]["base"][leaf], fresh["params"]["base"][leaf]
        )
    assert np.any(
        trained["params"]["head"]["kernel"] != fresh["params"]["head"]["kernel"]
    )
    assert trained["batch_stats"]["base"]["steps"] == 0


def test_it_is_evaluated_with_curves_and_overlays(name, data, run, tmp_path):
    arguments = ("--workdir", run, "--out", tmp_path, "--draw", 1, "--analyse")
    call("eval", name, data, *arguments)
    rows = json.loads((tmp_path / "metrics.json").read_text())
    assert set(rows) == {answers(name)}
    assert (tmp_path / f"results_{answers(name)}.json").is_file()
    assert (tmp_path / "loss_curve.png").stat().st_size > 10_000
    assert len([*(tmp_path / "overlays").iterdir()]) == 1


def test_it_predicts_and_draws_its_own_maps(name, run, photograph, tmp_path):
    layer = {"peaks": "peak_maps", "host": "host_maps"}[name]
    arguments = ["predict", photograph, "--weights", run, "--short-side=64"]
    arguments += ["--out", tmp_path / "drawn", "--json", tmp_path / "poses.json"]
    assert cli.main([*map(str, arguments), f"--draw=refined,{layer}"]) == 0
    assert len(json.loads((tmp_path / "poses.json").read_text())) > 0
    assert [*(tmp_path / "drawn").glob(f"*{layer}*")]


def test_a_layer_that_it_lacks_is_named(run, photograph, tmp_path, capsys):
    arguments = ["predict", photograph, "--weights", run, "--out", tmp_path]
    assert cli.main([*map(str, arguments), "--draw=kam"]) == 2
    error = capsys.readouterr().err
    assert "'kam'" in error
    assert "_maps" in error


def test_its_weights_go_to_pytorch_and_back(name, run, tmp_path):
    to_torch = ["convert", str(run), str(tmp_path / "model.pth"), "--to", "torch"]
    assert cli.main(to_torch) == 0
    expected, found = load_variables(run), load_weights(tmp_path / "model.pth")
    assert flatten(found["params"]).keys() == flatten(expected["params"]).keys()
    for path, leaf in flatten(expected["params"]).items():
        np.testing.assert_array_equal(flatten(found["params"])[path], leaf)


def test_it_is_exported_unless_it_needs_the_host(
    name, run, photograph, tmp_path, capsys
):
    out = tmp_path / "model.stablehlo"
    export = ["export", str(out), "--weights", str(run), "--size", "64x64"]
    if name == "host":
        assert cli.main(export) == 2
        assert "host" in capsys.readouterr().err
        assert not out.exists()
        return
    assert cli.main(export) == 0
    assert len(Predictor.from_export(out)(str(photograph))) == 1


def test_its_stages_show_in_parity(name, run, tmp_path, capsys):
    if name != "peaks":
        pytest.skip("names no stages")
    case = tmp_path / "peaks"
    case.mkdir()
    (case / "weights.pth").write_bytes(b"")
    (case / "weights.pth").unlink()
    assert (
        cli.main(["convert", str(run), str(case / "weights.pth"), "--to", "torch"]) == 0
    )
    image = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8)
    method = build_method("peaks", {"channels": 4})
    variables = load_variables(run)
    explained = method.explain(variables, View(image))
    maps = np.asarray(explained.layers["peak_maps"].values)
    np.savez(case / "infer_noise.npz", image=image, maps=maps)
    capsys.readouterr()
    assert cli.main(["parity", str(tmp_path)]) == 0
    assert "maps" in capsys.readouterr().out
    np.savez(case / "infer_noise.npz", image=image, maps=maps + 1)
    assert cli.main(["parity", str(tmp_path)]) == 1


def test_its_stages_are_timed(name, run, tmp_path, capsys):
    arguments = ["benchmark", "inference", f"--config={CONFIG}:{name}"]
    arguments += ["--size=64x64", "--batch=1", "--rounds=2"]
    assert cli.main(arguments) == 0
    table = capsys.readouterr().out
    assert ("peaks" if name == "peaks" else "host") in table
