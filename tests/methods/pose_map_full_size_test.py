"""Full-size nets of the methods with pose maps, by their shapes alone."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from flax import linen as nn

from data_pipeline.feed.examples import empty_example, stack_examples
from logocap_jax.methods import build_config, find_format, find_method
from logocap_jax.structures import Batch
from logocap_jax.weights.trees import flatten, unflatten

W48 = {"backbone": {"channels": 48}, "heatmap_hidden": 48}
SETTINGS = {
    ("dekr", "w32"): {},
    ("dekr", "w48"): W48,
    ("ranking", "w32"): {},
    ("ranking", "w48"): W48,
    ("ranking", "higher_w48"): W48 | {"fine_hidden": 48},
}
# Specification, 17: parameters without the scorer's, side of the input, multiply-adds
# in G.
PUBLISHED = {
    ("dekr", "w32"): (29_561_182, 512, 45.39),
    ("dekr", "w48"): (65_684_590, 640, 141.53),
    ("ranking", "w32"): (30_678_516, 512, 64.89),
    ("ranking", "w48"): (66_803_428, 640, 174.27),
    ("ranking", "higher_w48"): (66_895_941, 640, 181.95),
}


@pytest.fixture(scope="module", params=SETTINGS, ids="-".join)
def net(request):
    """Method, and name of its release's file."""
    return request.param


@pytest.fixture(scope="module")
def config(net):
    return build_config(net[0], SETTINGS[net] | {"scorer": True})


@pytest.fixture(scope="module")
def shapes(net, config):
    method = find_method(net[0]).make(config)
    return flatten(jax.eval_shape(method.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def manifest(net, shared_dir):
    """Key -> array of the release's two files, drawn; shared ones are equal."""
    rng, arrays, shared = np.random.default_rng(0), {}, {}
    grid = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij")).reshape(2, 9)
    for prefix, file in (("", net[1]), ("scorer.", "scorer")):
        path = shared_dir / "siblings" / "dekr" / net[0] / f"state_dict_{file}.json"
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
    assert len(shared) == (4 if net[0] == "ranking" else 0)
    return arrays


def test_there_are_as_many_parameters_as_published(net, shapes):
    sizes = {path: leaf.size for path, leaf in shapes.items()}

    def total(part):
        return sum(n for path, n in sizes.items() if path.startswith(f"params/{part}/"))

    assert total("dense") == PUBLISHED[net][0]
    assert total("scorer") == 74 * 256 + 256 + 256 * 256 + 256 + 256 + 1


def _is_repeated(config, path):
    """Ranking's release computes these layers once for each of three blocks.

    Those of the matrices, whose weights blocks share; and the layer that the heatmap
    head starts with too, unless there are fine heatmaps.
    """
    if path.startswith("heatmap_head/block/transform"):
        return True
    at_start = path == "heatmap_head/input/conv"
    return at_start and getattr(config, "fine_hidden", 1) == 0


def test_multiply_adds_are_those_published(net, config, shapes):
    """As the release counts: what it repeats as often, 2x maps by their own cells."""
    _, side, expected = PUBLISHED[net]
    total, network = 0, config.network()

    def count(call, inputs, options, context):
        nonlocal total
        result = call(*inputs, **options)
        kernel = context.module.variables.get("params", {}).get("kernel")
        if hasattr(kernel, "shape") and context.method_name == "__call__":
            size = math.prod(kernel.shape) * math.prod(result.shape[1:3])
            repeated = _is_repeated(config, "/".join(context.module.path))
            total += size * (3 if repeated else 1)
        return result

    dense = {
        collection: tree["dense"] for collection, tree in unflatten(shapes).items()
    }
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    with nn.intercept_methods(count):
        jax.eval_shape(lambda v, x: network.apply(v, x, train=False), dense, image)
    assert round(total / 1e9, 2) == expected


def test_every_key_of_the_released_files_converts_both_ways(net, manifest, shapes):
    table = find_format(net[0])
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


@pytest.mark.parametrize("net", [("ranking", "w32")], indirect=True)
def test_copies_that_differ_are_unknown(manifest):
    key = "multi_level_layers_4x_heatmap.1.0.stn_conv1.weight"
    changed = manifest | {key: manifest[key] + 1}
    unknown = find_format("ranking").from_torch(changed).unknown
    assert sorted(unknown) == [key.replace(".1.0.", f".{i}.0.") for i in range(3)]


def test_the_shapes_tell_the_settings(net, config, shapes):
    found = find_format(net[0]).recognise({p: x.shape for p, x in shapes.items()})
    backbone, count = found.pop("backbone"), found.pop("num_keypoints")
    assert backbone["channels"] == config.backbone.channels
    assert count == 17
    own = {field.name for field in dataclasses.fields(config)} & found.keys()
    expected = {
        "dekr": {"keypoint_channels"},
        "ranking": {"offset_hidden", "fine_hidden", "adaptive"},
    }
    assert own >= {"heatmap_hidden", "scorer"} | expected[net[0]]
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


@pytest.mark.parametrize(
    ("method", "settings"),
    [("dekr", {}), *(("ranking", {"fine_hidden": n}) for n in (0, 4))],
)
def test_poses_have_the_same_shape_at_three_scales(method, settings):
    """Predicted from views, and evaluated from batches, which hold all scales too."""
    spec = find_method(method)
    settings = spec.tiny | settings | {"test_scales": (0.5, 1.0, 2.0)}
    built = spec.make(build_config(method, settings))
    example = empty_example((192, 128), num_keypoints=17, max_people=1)
    scaled = tuple(np.zeros((*size, 3), np.uint8) for size in ((256, 384), (64, 96)))
    batch = Batch(**stack_examples([example | {"scaled": scaled}]))
    variables = jax.eval_shape(built.init, jax.random.key(0))
    for found in (
        jax.eval_shape(built.predict, variables, batch.view),
        jax.eval_shape(built.evaluate, variables, batch),
    ):
        assert built.answer in found
        for poses in found.values():
            assert poses.keypoints.shape == (1, 5, 17, 2)
