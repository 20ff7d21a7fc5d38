"""A whole model in ONNX, run by onnxruntime, against the model itself."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from data_pipeline.feed.affine import warp_image
from logocap_jax import Predictor, cli
from logocap_jax.export import export
from logocap_jax.predictor.exported import info_path
from logocap_jax.predictor.inputs import by_short_side
from logocap_jax.weights.settings import build_fitting, load_settings

pytest.importorskip(
    "onnxruntime", reason="onnxruntime is not installed: pip install '.[onnx]'"
)
pytestmark = pytest.mark.parity

SHORT_SIDE = 128
# Few of everything, to compile it fast; weights fit all of these.
SETTINGS = {"mesh_size": 3, "window_radius": 8, "num_slots": 8}
OPTIONS = [f"--set={name}={value}" for name, value in SETTINGS.items()]

# Nothing but onnxruntime: what a server would run.
ELSEWHERE = """
import sys
import numpy as np
import onnxruntime
path, pixels, out = sys.argv[1:]
session = onnxruntime.InferenceSession(path)
names = [output.name for output in session.get_outputs()]
np.savez(out, **dict(zip(names, session.run(names, {"image": np.load(pixels)}))))
assert not {"logocap_jax", "jax"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def weights(parity_dir):
    return parity_dir / "tiny" / "weights.npz"


@pytest.fixture(scope="module")
def image(parity_dir):
    with np.load(parity_dir / "tiny" / "infer_000000397133.npz") as arrays:
        return arrays["image"]


@pytest.fixture(scope="module")
def pixels(image):
    size, transform = by_short_side(SHORT_SIDE)(image.shape[1::-1])
    return warp_image(image, transform, size=size)[None]


def exported(weights, out, what, pixels, options=OPTIONS):
    """The maps or poses of an export, as another process finds them."""
    size = "x".join(map(str, pixels.shape[1:3]))
    arguments = [out, "--weights", weights, "--what", what, "--size", size, *options]
    assert cli.main(["export", *map(str, arguments)]) == 0
    files = [out, out.with_name("pixels.npy"), out.with_name("out.npz")]
    np.save(files[1], pixels)
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, files)], check=True)
    with np.load(files[2]) as arrays:
        found = dict(arrays)
    described = json.loads(info_path(out).read_text())
    assert described["file_format"] == "onnx"
    assert [given["shape"] for given in described["inputs"]] == [list(pixels.shape)]
    for array in described["outputs"]:
        assert list(found[array["name"]].shape) == array["shape"]
        assert found[array["name"]].dtype == array["dtype"]
    assert len(found) == len(described["outputs"])
    return found


def test_maps_differ_by_float_noise_only(weights, pixels, tmp_path):
    found = exported(weights, tmp_path / "dense.onnx", "dense", pixels)
    settings, variables = load_settings(weights, SETTINGS)
    method = build_fitting(weights, settings, variables)
    function = export.dense_function(settings, method, variables)
    expected = jax.jit(function)(pixels)
    for name, array in expected.items():
        error = np.abs(found[name] - array).max() / np.abs(array).max()
        assert error < 1e-5, name


def test_poses_are_those_of_the_model(weights, image, pixels, tmp_path):
    found = exported(weights, tmp_path / "full.onnx", "full", pixels)
    settings, variables = load_settings(weights, SETTINGS)
    method = build_fitting(weights, settings, variables)
    expected = jax.jit(export.full_function(method, variables))(pixels)
    valid = np.asarray(expected["valid"])
    assert valid.any()
    np.testing.assert_array_equal(found["valid"], valid)
    for name in ("keypoints", "initial_keypoints"):
        np.testing.assert_allclose(found[name][valid], expected[name][valid], atol=0.01)
    for name in ("scores", "keypoint_scores"):
        np.testing.assert_allclose(
            found[name][valid], expected[name][valid], rtol=1e-4, atol=1e-6
        )
    predictor = Predictor.from_export(tmp_path / "full.onnx")
    to_image = predictor.prepare(image).input_to_image
    points = expected["keypoints"][valid] @ to_image[:, :2].T + to_image[:, 2]
    np.testing.assert_allclose(predictor(image).keypoints, points, atol=0.01)


def test_adaptive_convolutions_and_their_poses_are_those_of_the_model(
    shared_dir, pixels, tmp_path
):
    weights = shared_dir / "siblings" / "dekr" / "dekr" / "tiny" / "weights.npz"
    settings, variables = load_settings(weights, {"num_slots": 8})
    method = build_fitting(weights, settings, variables)
    found = exported(
        weights, tmp_path / "full.onnx", "full", pixels, ["--set=num_slots=8"]
    )
    expected = jax.jit(export.full_function(method, variables))(pixels)
    valid = np.asarray(expected["valid"])
    assert valid.sum() > 3
    np.testing.assert_array_equal(found["valid"], valid)
    points = (found["keypoints"][valid], expected["keypoints"][valid])
    np.testing.assert_allclose(*points, atol=0.01)
    scores = (found["scores"][valid], expected["scores"][valid])
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size=dynamic"], "got a dynamic size or batch, ONNX needs fixed ones"),
        (["--batch=dynamic"], "got a dynamic size or batch, ONNX needs fixed ones"),
        (["--platforms=cpu"], "--platforms cpu: ONNX is not made for some only"),
        (["--dtype=bfloat16"], "got dtype='bfloat16', expected float32 for ONNX"),
    ],
)
def test_what_onnx_has_not_is_refused(weights, tmp_path, capsys, arguments, message):
    out = tmp_path / "tiny.model"
    options = ["--format=onnx", "--weights", str(weights), *arguments]
    assert cli.main(["export", str(out), *options]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not list(tmp_path.iterdir())
