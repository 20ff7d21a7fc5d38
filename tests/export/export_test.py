"""Exports, and what a process without this project makes of them."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from logocap_jax import Predictor
from logocap_jax.export import export
from logocap_jax.predictor import exported
from logocap_jax.predictor.exported import info_path, read_export
from tests import programs

pytestmark = pytest.mark.parity

SHORT_SIDE, SIZE = 128, (128, 192)
# Few of everything, to compile it fast; weights fit all of these.
SETTINGS = {"mesh_size": 3, "window_radius": 8, "num_slots": 8}

# Nothing but JAX: what a server would run.
ELSEWHERE = """
import sys
import jax, jax.export
import numpy as np
path, pixels, out = sys.argv[1:]
with open(path, "rb") as stream:
    exported = jax.export.deserialize(bytearray(stream.read()))
np.savez(out, **exported.call(np.load(pixels)))
assert not {"logocap_jax", "flax"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def weights(parity_dir):
    return parity_dir / "tiny" / "weights.npz"


@pytest.fixture(scope="module")
def images(parity_dir):
    with np.load(parity_dir / "tiny" / "infer_000000397133.npz") as arrays:
        image = arrays["image"]
    return [image, np.ascontiguousarray(image[:, ::-1])]


@pytest.fixture(scope="module")
def full(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "tiny.stablehlo"
    export.export_weights(
        weights, path, export.ExportOptions(size=SIZE), settings=SETTINGS
    )
    return path


@pytest.fixture(scope="module")
def predictor(weights):
    return Predictor.from_weights(
        weights, short_side=SHORT_SIDE, settings=SETTINGS, batch_size=2
    )


@pytest.fixture(scope="module")
def expected(predictor, images):
    return predictor(images)


@pytest.fixture(scope="module")
def from_export(full):
    return Predictor.from_export(full, batch_size=2)


def run_elsewhere(path, pixels, folder):
    np.save(folder / "pixels.npy", pixels)
    files = [path, folder / "pixels.npy", folder / "out.npz"]
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *map(str, files)],
        env=os.environ | programs.one_device(),
        cwd=folder,
        check=True,
    )
    with np.load(folder / "out.npz") as arrays:
        return dict(arrays)


def assert_same(poses, expected):
    np.testing.assert_allclose(poses.scores, expected.scores, rtol=1e-4)
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=0.01)
    np.testing.assert_allclose(
        poses.initial_keypoints, expected.initial_keypoints, atol=0.01
    )


def test_an_export_predicts_what_its_weights_predict(from_export, images, expected):
    for poses, other in zip(from_export(images), expected, strict=True):
        assert_same(poses, other)


def test_an_image_of_another_shape_lies_in_the_middle(from_export, predictor, images):
    image = images[0]
    width = image.shape[1]
    part = image[:, : width // 2]
    canvas = np.zeros_like(image)
    left = width // 4
    canvas[:, left : left + part.shape[1]] = part
    moved = predictor(canvas)
    assert_same(
        from_export(part),
        dataclasses.replace(
            moved,
            keypoints=moved.keypoints - [left, 0],
            initial_keypoints=moved.initial_keypoints - [left, 0],
        ),
    )


@pytest.mark.slow
def test_any_process_can_run_an_export(full, from_export, images, expected, tmp_path):
    inputs = [from_export.prepare(image) for image in images]
    pixels = np.stack([given.pixels for given in inputs])
    found = run_elsewhere(full, pixels, tmp_path)
    described = json.loads(info_path(full).read_text())
    (given,) = described["inputs"]
    assert given["shape"] == ["batch", *SIZE, 3]
    for array in described["outputs"]:
        result = found[array["name"]]
        assert ["batch", *result.shape[1:]] == array["shape"]
        assert result.dtype == array["dtype"]
    assert len(found) == len(described["outputs"])
    for row, poses in enumerate(expected):
        kept = found["valid"][row]
        to_image = inputs[row].input_to_image
        points = found["keypoints"][row][kept] @ to_image[:, :2].T + to_image[:, 2]
        np.testing.assert_allclose(points, poses.keypoints, atol=0.01)
        np.testing.assert_allclose(found["scores"][row][kept], poses.scores, rtol=1e-4)


def change_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_info(**changes):
    def change(path):
        content = json.loads(info_path(path).read_text())
        info_path(path).write_text(json.dumps(content | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "tiny.stablehlo: no such file, expected the exp"),
        (
            lambda path: info_path(path).unlink(),
            "tiny.stablehlo.json: no such file, expected the JSON beside tiny.stable",
        ),
        (change_byte, "tiny.stablehlo: got SHA-256 "),
        (lambda path: info_path(path).write_text("{"), "tiny.stablehlo.json: not JSON"),
        (lambda path: info_path(path).write_text("[]"), "got a JSON list, expected a"),
        (
            change_info(format="other"),
            "json: got format 'other', expected 'logocap-jax",
        ),
        (change_info(format_version=1), "json: got format version 1, expected 3; exp"),
        (change_info(inputs=[{}]), "json: damaged (KeyError: 'name'); copy it again"),
        (change_info(versions={}), "json: damaged (KeyError: 'logocap_jax')"),
        (
            change_info(versions={"logocap_jax": "0.1.0", "jax": "99.1.0"}),
            "written by jax 99.1.0, but this is",
        ),
        (change_info(skeleton=None), "json: damaged (ValueError: "),
        (change_info(what="dense"), "holds dense maps only; export with --what full"),
        (change_info(platforms=["tpu"]), "made for tpu, but this is cpu; export with"),
    ],
)
def test_an_export_that_is_not_whole_is_one_clear_line(full, tmp_path, damage, message):
    path = tmp_path / full.name
    for file in (full, info_path(full)):
        shutil.copy(file, tmp_path)
    damage(path)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Predictor.from_export(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_onnx_without_its_runtime_is_one_clear_line(full, tmp_path, monkeypatch):
    path = tmp_path / full.name
    for file in (full, info_path(full)):
        shutil.copy(file, tmp_path)
    change_info(file_format="onnx")(path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"holds ONNX, .*; pip install 'logocap-jax"):
        Predictor.from_export(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 512}, "but the export's size is fixed to 128x192; leave it"),
        ({"batch_size": 0}, "got batch_size=0, expected 1 or more"),
    ],
)
def test_options_that_an_export_cannot_follow_are_refused(full, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor.from_export(full, **options)


def test_dynamic_axes_take_options_and_fixed_ones_decide(full):
    info, _ = read_export(full)
    assert exported.batch_size_of(info, None) is None
    assert exported.batch_size_of(info, 3) == 3
    assert exported.fit_of(info, None)((640, 480))[0] == SIZE[::-1]
    shape = (4, "64*height", "64*width", 3)
    image = dataclasses.replace(info.inputs[0], shape=shape)
    other = dataclasses.replace(info, inputs=(image,))
    assert exported.fit_of(other, None)((640, 480))[0] == (704, 512)
    assert exported.fit_of(other, 128)((640, 480))[0] == (192, 128)
    assert exported.batch_size_of(other, None) == 4
    with pytest.raises(ValueError, match="got batch_size=3, but the export's is fixed"):
        exported.batch_size_of(other, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": "half"}, "got what='half', expected one of"),
        ({"size": (256, 380)}, "got a side of 380 px, expected a multiple of 64"),
        ({"size": (0, 64)}, "got a side of 0 px"),
        ({"size": (64, 16448)}, "got a side of 16448 px"),
        ({"batch": 0}, "got a batch of 0, expected 1 or more"),
        ({"platforms": ("cpu", "abacus")}, r"got platforms \['cpu', 'abacus'\]"),
        ({"platforms": ()}, r"got platforms \[\]"),
        ({"file_format": "tflite"}, "got file_format='tflite', expected one of"),
        ({"file_format": "onnx"}, "got a dynamic size or batch, ONNX needs fixed ones"),
    ],
)
def test_what_cannot_be_exported_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        export.ExportOptions(**options)
