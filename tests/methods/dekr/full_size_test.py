"""Full-size DEKR by its shapes alone."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from logocap_jax.methods import build_config, find_format, find_method
from logocap_jax.structures import View
from logocap_jax.weights.trees import flatten, unflatten

SETTINGS = {
    "w32": {},
    "w48": {"backbone": {"channels": 48}, "heatmap_hidden": 48},
}
# Specification, 17; the scorer's 85,505 parameters are in a file of their own.
PARAMETERS = {"w32": 29_561_182, "w48": 65_684_590}
MULTIPLY_ADDS = {"w32": (512, 45.39), "w48": (640, 141.53)}


@pytest.fixture(scope="module", params=SETTINGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def config(name):
    return build_config("dekr", SETTINGS[name] | {"scorer": True})


@pytest.fixture(scope="module")
def shapes(config):
    method = find_method("dekr").make(config)
    return flatten(jax.eval_shape(method.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def manifest(name, shared_dir):
    """Key -> array of the release's two files, drawn."""
    rng, arrays = np.random.default_rng(0), {}
    grid = find_format("dekr").to_torch(
        {"params/dense/offset_head/unit0/conv/kernel": np.zeros((3, 3, 1, 1), "f")}
    )
    grid = next(x for key, x in grid.items() if key.endswith("regular_matrix"))
    for prefix, file in (("", name), ("scorer.", "scorer")):
        path = shared_dir / "siblings" / "dekr" / "dekr" / f"state_dict_{file}.json"
        for key, shape, dtype in json.loads(path.read_text(encoding="utf-8")):
            if key.endswith("regular_matrix"):
                arrays[key] = grid
            elif key.endswith("num_batches_tracked"):
                arrays[key] = np.zeros((), np.int64)
            else:
                arrays[prefix + key] = rng.standard_normal(shape, np.float32)
            assert arrays[prefix + key].dtype == dtype
            assert list(arrays[prefix + key].shape) == shape
    return arrays


def test_there_are_as_many_parameters_as_published(name, shapes):
    sizes = [
        leaf.size for path, leaf in shapes.items() if path.startswith("params/dense/")
    ]
    assert sum(sizes) == PARAMETERS[name]
    assert sum(x.size for p, x in shapes.items() if p.startswith("params/scorer")) == (
        74 * 256 + 256 + 256 * 256 + 256 + 256 + 1
    )


def test_multiply_adds_are_those_published(name, config, shapes):
    """Kernels read all their numbers once for each cell of their output."""
    side, expected = MULTIPLY_ADDS[name]
    total, network = 0, config.network()

    def count(call, inputs, options, context):
        nonlocal total
        result = call(*inputs, **options)
        kernel = context.module.variables.get("params", {}).get("kernel")
        if hasattr(kernel, "shape") and context.method_name == "__call__":
            total += math.prod(kernel.shape) * math.prod(result.shape[1:3])
        return result

    dense = {
        collection: tree["dense"] for collection, tree in unflatten(shapes).items()
    }
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    with nn.intercept_methods(count):
        jax.eval_shape(lambda v, x: network.apply(v, x, train=False), dense, image)
    assert round(total / 1e9, 2) == expected


def test_every_key_of_the_released_files_converts_both_ways(manifest, shapes):
    table = find_format("dekr")
    found = table.from_torch(manifest)
    assert not found.unknown
    assert {path: x.shape for path, x in found.arrays.items()} == {
        path: x.shape for path, x in shapes.items()
    }
    back = table.to_torch(found.arrays)
    assert back.keys() == manifest.keys()
    for key, array in manifest.items():
        assert back[key].dtype == array.dtype
        np.testing.assert_array_equal(back[key], array)


def test_the_shapes_tell_the_settings(name, shapes):
    settings = find_format("dekr").recognise({p: x.shape for p, x in shapes.items()})
    assert settings["backbone"]["channels"] == int(name[1:])
    assert settings["heatmap_hidden"] == int(name[1:])
    assert settings["keypoint_channels"] == 15
    assert settings["num_keypoints"] == 17
    assert settings["scorer"] is True


def test_poses_have_the_same_shape_at_three_scales(config, shapes):
    config = dataclasses.replace(config, test_scales=(0.5, 1.0, 2.0))
    image, *scaled = (
        jax.ShapeDtypeStruct((1, *size, 3), np.uint8)
        for size in ((512, 768), (1024, 1536), (256, 384))
    )
    method = find_method("dekr").make(config)
    view = View(image, scaled=tuple(scaled))
    found = jax.eval_shape(method.predict, unflatten(shapes), view)
    assert found["dekr"].keypoints.shape == (1, 30, 17, 2)
