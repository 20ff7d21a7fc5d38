"""Methods that the predictor and the exporter have never seen."""

import json

import jax
import numpy as np
import pytest

from logocap_jax import cli, methods
from logocap_jax.methods.base import finish
from logocap_jax.predictor import Predictor
from logocap_jax.structures import View
from logocap_jax.weights.files import save_safetensors

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
NAMES = ("host", "peaks")


@pytest.fixture(params=NAMES)
def toy(request, monkeypatch, tmp_path):
    """A toy method, its variables, and its weights on disk."""
    name = request.param
    monkeypatch.setitem(methods.METHODS, name, f"tests.toys.methods.{name}")
    method = methods.build_method(name, {})
    variables = method.init(jax.random.key(0))
    save_safetensors(tmp_path / "weights.safetensors", variables)
    return method, variables, tmp_path / "weights.safetensors"


@pytest.fixture
def cache(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    jax.config.update("jax_compilation_cache_dir", before)


def test_a_toy_predicts_and_explains_and_its_trace_is_kept(toy, cache):
    method, variables, weights = toy
    outputs = method.predict(variables, View(IMAGE[None]))
    expected = finish(method, jax.device_get(outputs))[method.answer]
    assert expected.initial_keypoints is None
    for _ in range(2):
        predictor = Predictor.from_weights(weights, short_side=64, batch_size=1)
        assert predictor.input_size((96, 64)) == (
            (128, 64) if predictor._model.on_host else (96, 64)
        )
        poses = predictor(IMAGE)
        if not predictor._model.on_host:  # else the input is wider than the image
            np.testing.assert_allclose(
                poses.keypoints, expected.keypoints[0], atol=0.01
            )
        explained = predictor.explain(IMAGE)
        np.testing.assert_allclose(explained.poses.keypoints, poses.keypoints)
        ((name, layer),) = explained.layers.items()
        assert predictor.layers == {name: type(layer)}
        assert layer.values.shape[2] == 17
    (folder,) = cache.glob("traces-*")
    assert len([path for path in folder.iterdir() if path.name != "fits"]) == 1


def test_a_layer_of_a_toy_is_a_picture_of_its_own(toy, tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    weights, out = toy[2], tmp_path / "out"
    arguments = [tmp_path / "a.png", "--weights", weights, "--out", out]
    options = ["--short-side=64", "--score-threshold=-9", "--draw"]
    (name,) = Predictor.from_weights(weights, short_side=64).layers
    command = ["predict", *map(str, arguments), *options]
    assert cli.main([*command, f"refined,initial,{name}"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"a.{name}.png", "a.png"]
    assert cli.main([*command, "kam"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"got ['kam'], expected some of refined, initial, {name}")


def test_dense_maps_of_a_toy_are_exported_and_poses_unless_the_host_makes_them(
    toy, tmp_path, capsys
):
    method, variables, weights = toy
    command = ["export", "--weights", str(weights), "--size=64x128", "--batch=1"]
    dense, full = tmp_path / "dense.stablehlo", tmp_path / "full.stablehlo"
    assert cli.main([*command, str(dense), "--what=dense"]) == 0
    (layer,) = method.explain(variables, View(IMAGE[None])).layers
    described = json.loads((tmp_path / "dense.stablehlo.json").read_text())
    assert [array["name"] for array in described["outputs"]] == [layer]
    capsys.readouterr()
    if method.finish is None:
        assert cli.main([*command, str(full)]) == 0
        predictor = Predictor.from_weights(weights, short_side=64, batch_size=1)
        exported = Predictor.from_export(full, batch_size=1)
        image = np.zeros((64, 128, 3), np.uint8)
        np.testing.assert_allclose(
            exported(image).keypoints, predictor(image).keypoints, atol=0.01
        )
        return
    assert cli.main([*command, str(full)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "method 'host' ends with a step on the host, which no export holds; export its "
        "maps: --what dense"
    )
    assert not full.exists()
