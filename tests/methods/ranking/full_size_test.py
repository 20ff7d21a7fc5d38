"""The full-size nets by their shapes alone."""

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

W48 = {"backbone": {"channels": 48}, "heatmap_hidden": 48}
SETTINGS = {"w32": {}, "w48": W48, "higher_w48": W48 | {"fine_hidden": 48}}
# Specification, 17: parameters, side of the input, multiply-adds in G.
PUBLISHED = {
    "w32": (30_678_516, 512, 64.89),
    "w48": (66_803_428, 640, 174.27),
    "higher_w48": (66_895_941, 640, 181.95),
}


@pytest.fixture(scope="module", params=SETTINGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def config(name):
    return build_config("ranking", SETTINGS[name] | {"scorer": True})


@pytest.fixture(scope="module")
def shapes(config):
    method = find_method("ranking").make(config)
    return flatten(jax.eval_shape(method.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def manifest(name, shared_dir):
    """Key -> array of the release's two files, drawn; shared ones are equal."""
    rng, arrays, shared = np.random.default_rng(0), {}, {}
    grid = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij")).reshape(2, 9)
    for prefix, file in (("", name), ("scorer.", "scorer")):
        path = shared_dir / "siblings" / "dekr" / "ranking" / f"state_dict_{file}.json"
        for key, shape, dtype in json.loads(path.read_text(encoding="utf-8")):
            if key.endswith("regular_matrix"):
                array = grid.astype(np.float32)
            elif key.endswith("num_batches_tracked"):
                array = np.zeros((), np.int64)
            else:
                array = rng.standard_normal(shape, np.float32)
            if key.startswith("multi_level_layers_4x_heatmap") and "conv" in key:
                *_, module, leaf = key.split(".")
                if leaf == "weight":
                    array = shared.setdefault(module, array)
            assert array.dtype == dtype
            assert list(array.shape) == shape
            arrays[prefix + key] = array
    assert len(shared) == 4
    return arrays


def test_there_are_as_many_parameters_as_published(name, shapes):
    sizes = [x.size for path, x in shapes.items() if path.startswith("params/dense/")]
    assert sum(sizes) == PUBLISHED[name][0]


def test_multiply_adds_are_those_published(name, config, shapes):
    """As the release counts: what it repeats as often, 2x maps by their own cells.

    It computes the matrices, whose weights blocks share, once for each block; and the
    layer that the heatmap head starts with too, unless there are fine heatmaps.
    """
    _, side, expected = PUBLISHED[name]
    total, network = 0, config.network()

    def count(call, inputs, options, context):
        nonlocal total
        result = call(*inputs, **options)
        kernel = context.module.variables.get("params", {}).get("kernel")
        if hasattr(kernel, "shape") and context.method_name == "__call__":
            path = "/".join(context.module.path)
            repeated = path.startswith("heatmap_head/block/transform")
            repeated |= path == "heatmap_head/input/conv" and not config.fine_hidden
            size = math.prod(kernel.shape) * math.prod(result.shape[1:3])
            total += size * (3 if repeated else 1)
        return result

    dense = {
        collection: tree["dense"] for collection, tree in unflatten(shapes).items()
    }
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    with nn.intercept_methods(count):
        jax.eval_shape(lambda v, x: network.apply(v, x, train=False), dense, image)
    assert round(total / 1e9, 2) == expected


def test_every_key_of_the_released_files_converts_both_ways(manifest, shapes):
    table = find_format("ranking")
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


def test_copies_that_differ_are_unknown(manifest):
    key = "multi_level_layers_4x_heatmap.1.0.stn_conv1.weight"
    changed = manifest | {key: manifest[key] + 1}
    unknown = find_format("ranking").from_torch(changed).unknown
    assert sorted(unknown) == [key.replace(".1.0.", f".{i}.0.") for i in range(3)]


def test_the_shapes_tell_the_settings(name, config, shapes):
    found = find_format("ranking").recognise({p: x.shape for p, x in shapes.items()})
    backbone, count = found.pop("backbone"), found.pop("num_keypoints")
    assert backbone["channels"] == config.backbone.channels
    assert count == 17
    own = {field.name for field in dataclasses.fields(config)} & found.keys()
    assert own >= {"heatmap_hidden", "offset_hidden", "fine_hidden", "adaptive"}
    assert {key: getattr(config, key) for key in own} == {
        key: found[key] for key in own
    }


@pytest.mark.parametrize("switched", ["adaptive", "guidance"])
def test_the_shapes_tell_ablations(switched):
    spec = find_method("ranking")
    config = build_config("ranking", spec.tiny | {switched: False})
    shapes = flatten(jax.eval_shape(spec.make(config).init, jax.random.key(0)))
    found = find_format("ranking").recognise({p: x.shape for p, x in shapes.items()})
    assert found[switched] is False
    assert find_format("ranking").recognise({}) is None


@pytest.mark.parametrize("fine_hidden", [0, 4])
def test_poses_have_the_same_shape_at_three_scales(fine_hidden):
    spec = find_method("ranking")
    changes = {"test_scales": (0.5, 1.0, 2.0), "fine_hidden": fine_hidden}
    method = spec.make(build_config("ranking", spec.tiny | changes))
    image, *scaled = (
        jax.ShapeDtypeStruct((1, *size, 3), np.uint8)
        for size in ((128, 192), (256, 384), (64, 96))
    )
    variables = jax.eval_shape(method.init, jax.random.key(0))
    view = View(image, scaled=tuple(scaled))
    found = jax.eval_shape(method.predict, variables, view)
    for poses in found.values():
        assert poses.keypoints.shape == (1, 5, 17, 2)
