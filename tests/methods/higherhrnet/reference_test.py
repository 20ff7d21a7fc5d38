"""Photographs through the test path, and the names of the releases' weights."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.feed import affine
from data_pipeline.read.images import decode_photograph
from logocap_jax.evaluation.results import to_image
from logocap_jax.methods import build_config, build_method, find_format
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.parity.higherhrnet import read_detector
from logocap_jax.skeletons import KNOWN
from logocap_jax.structures import View
from logocap_jax.weights.settings import load_settings
from logocap_jax.weights.trees import flatten

WANTED = ("candidates", "keypoints", "person_scores", "refined", "valid", "outputs")
PART = "bu_model."


@pytest.fixture(scope="module")
def folder(shared_dir):
    return shared_dir / "siblings" / "centergroup"


@pytest.fixture(scope="module")
def detector(folder):
    return read_detector(folder / "tiny")


@pytest.mark.parity
@pytest.mark.parametrize("case", ["350679_no_flip", "151938"])
def test_people_of_a_photograph_are_the_references(detector, folder, shared_dir, case):
    settings, variables = detector
    flip_test = "no_flip" not in case
    config = build_config("higherhrnet", settings | {"flip_test": flip_test})
    arrays = dict(np.load(folder / "tiny" / f"ae_{case}.npz"))
    name = f"{int(case.split('_')[0]):012d}.jpg"
    pixels = decode_photograph(shared_dir / "data" / "photos" / "val2017" / name)
    sides = pixels.shape[1::-1]
    size = affine.eval_input_size(sides, short_side=192, rounding="half even")
    transform = affine.eval_affine(sides, size, "half even")
    view = View(jnp.asarray(affine.warp_image(pixels, transform, size=size)[None]))
    run = functools.partial(run_stages, make_stages(config), wanted=WANTED)
    with jax.default_matmul_precision("highest"):
        found = jax.device_get(jax.jit(run)(variables, vars(view)))

    shown = arrays["val_k"] > 0.1
    pixels = found["candidates"][0][shown]
    np.testing.assert_array_equal(pixels, arrays["loc_k"][shown])
    valid = found["valid"][0]
    assert valid.sum() == len(arrays["scores"])
    scores = found["outputs"]["higherhrnet"].scores[0][valid]
    np.testing.assert_allclose(scores, arrays["scores"], atol=1e-5)
    for mine, theirs in (("keypoints", "adjusted"), ("refined", "refined")):
        points = found[mine][0][valid]
        np.testing.assert_allclose(points, arrays[theirs][..., :2], atol=0.01)
    back = affine.invert_affine(transform)
    points = to_image(found["refined"][0][valid], back)
    np.testing.assert_allclose(points, arrays["preds"][..., :2], atol=0.01)


FILES = {
    "w32/centergroup_coco_512": 28_535_552 + 110_902,
    "w48/centergroup_coco_640": None,
    "w48/centergroup_crowdpose_640": None,
}


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_names_and_shapes_are_those_of_the_release(folder, name, center):
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    state = {
        key: tuple(array["shape"])
        for key, array in json.loads(text).items()
        if key.startswith(PART)
    }
    if not center:
        state = _without_center(state)
    table = find_format("higherhrnet")
    found = table.from_torch({key: _empty(shape) for key, shape in state.items()})
    assert found.unknown == []
    shapes = {path: array.shape for path, array in found.arrays.items()}
    settings = table.recognise(shapes)
    count = settings.pop("num_keypoints")
    assert settings["center"] is center
    skeleton = dataclasses.asdict(KNOWN[count])
    method = build_method("higherhrnet", settings | {"skeleton": skeleton})
    expected = flatten(jax.eval_shape(method.init, jax.random.key(0)))
    assert shapes == {path: leaf.shape for path, leaf in expected.items()}
    back = table.to_torch({path: _empty(shape) for path, shape in shapes.items()})
    theirs = {table.canonical(key): shape for key, shape in state.items()}
    assert {key: array.shape for key, array in back.items()} == theirs
    if center and FILES[name]:
        params = (x.size for path, x in expected.items() if path.startswith("params"))
        assert sum(params) == FILES[name]


def _empty(shape):
    return np.broadcast_to(np.float32(0), shape)


def _without_center(state):
    """The shapes of a plain HigherHRNet: a map and a tag less."""
    smaller = dict(state)
    for key, shape in state.items():
        if ".final_layers.0." in key:
            smaller[key] = (shape[0] - 2, *shape[1:])
        if ".final_layers.1." in key:
            smaller[key] = (shape[0] - 1, *shape[1:])
        if key.endswith(".deconv_layers.0.0.0.weight"):
            smaller[key] = (shape[0] - 2, *shape[1:])
    return smaller


def test_the_files_of_both_releases_hold_the_same_detector(shared_dir, detector):
    _, expected = detector
    for name in ("official", "mmpose_0x"):
        path = shared_dir / "siblings" / "mmpose" / f"higherhrnet_tiny_{name}.pth"
        settings, variables = load_settings(path, {})
        assert settings["name"] == "higherhrnet"
        assert settings["center"]
        jax.tree.map(np.testing.assert_array_equal, variables, expected)
