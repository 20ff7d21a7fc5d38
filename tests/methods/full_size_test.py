"""Full-size networks by their shapes alone."""

import json

import jax
import numpy as np
import pytest

from logocap_jax.methods import build_method, find_format
from logocap_jax.structures import View
from logocap_jax.weights.trees import flatten, unflatten

SETTINGS = {
    "w32": {},
    "w48": {"backbone": {"channels": 48}, "heatmap_hidden": 48},
}


@pytest.fixture(scope="module")
def variables():
    """Shapes of the variables by path, for each size."""
    found = {}
    for name, settings in SETTINGS.items():
        method = build_method("logocap", settings)
        found[name] = flatten(jax.eval_shape(method.init, jax.random.key(0)))
    return found


def _parameters(shapes, prefix="params/"):
    return sum(leaf.size for path, leaf in shapes.items() if path.startswith(prefix))


def test_w32_has_as_many_parameters_as_published(variables):
    assert _parameters(variables["w32"]) == 35_991_429
    assert _parameters(variables["w32"], "params/dense/backbone/") == 29_305_536


@pytest.mark.parametrize("name", SETTINGS)
def test_shapes_are_those_of_the_released_checkpoint(name, variables, parity_dir):
    text = (parity_dir / name / "state_dict_manifest.json").read_text()
    released = {}
    for key, shape, _ in json.loads(text):
        if not key.endswith("num_batches_tracked"):
            released[key] = tuple(shape)
    expected = {}
    for path, leaf in variables[name].items():
        entry = find_format("logocap").find_path(path)
        assert entry is not None, path
        # A view of one value has the shape and costs nothing.
        array = entry.leaf.layout.to_torch(_view(leaf.shape))
        expected[entry.key] = array.shape
    assert expected == released


@pytest.mark.parametrize("name", SETTINGS)
def test_every_key_of_the_released_checkpoint_has_a_path(name, variables, parity_dir):
    text = (parity_dir / name / "state_dict_manifest.json").read_text()
    paths = set()
    for key, _, _ in json.loads(text):
        if not key.endswith("num_batches_tracked"):
            entry = find_format("logocap").find_key(key)
            assert entry is not None, key
            paths.add(entry.path)
    assert paths == set(variables[name])


def test_w32_has_poses_of_the_same_shape_at_three_scales(variables):
    method = build_method("logocap", {"test_scales": (0.5, 1.0, 2.0)})
    image = jax.ShapeDtypeStruct((1, 512, 768, 3), np.uint8)
    found = jax.eval_shape(method.predict, unflatten(variables["w32"]), View(image))
    assert found["logocap"].keypoints.shape == (1, 30, 17, 2)


def _view(shape):
    return np.broadcast_to(np.float32(0), shape)
