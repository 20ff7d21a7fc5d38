import jax
import numpy as np
import pytest

from logocap_jax.methods import METHODS, build_method, find_format
from logocap_jax.weights.files import to_variables
from logocap_jax.weights.recognise import (
    expected_shapes,
    find_table,
    identify,
    recognise_weights,
)
from logocap_jax.weights.trees import flatten

TINY = {
    "backbone": {
        "channels": 8,
        "stem_channels": 64,
        "layer1_channels": 64,
        "layer1_blocks": 4,
        "modules": (1, 2, 2),
        "blocks": 2,
    },
    "heatmap_hidden": 8,
    "offset_hidden": 32,
    "embedding": 8,
    "message_channels": (32, 24, 16),
    "attentive_layer": 1,
    "affines": 10,
    "num_keypoints": 17,
}


def _empty_state(manifest):
    """Arrays of the right shapes that take no memory."""
    return {key: np.broadcast_to(0.0, shape) for key, shape in manifest.items()}


def shapes_of(name, settings):
    method = build_method(name, settings)
    return flatten(jax.eval_shape(lambda: method.init(jax.random.key(0))))


def test_small_model_is_read_from_state_dict_and_from_variables(
    tiny_state, tiny_variables
):
    assert recognise_weights(tiny_state) == ("logocap", TINY)
    assert recognise_weights(flatten(tiny_variables)) == ("logocap", TINY)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("w32", {"heatmap_hidden": 32}),
        ("w48", {"heatmap_hidden": 48, "message_channels": (512, 256, 128)}),
    ],
)
def test_released_sizes_are_read_from_the_manifest(manifests, name, sizes):
    method, settings = recognise_weights(_empty_state(manifests[name]))
    assert method == "logocap"
    assert {key: settings[key] for key in sizes} == sizes
    assert settings["backbone"] == {
        **TINY["backbone"],
        "channels": int(name[1:]),
        "modules": (1, 4, 3),
        "blocks": 4,
    }
    assert (settings["affines"], settings["offset_hidden"]) == (20, 256)
    assert settings["num_keypoints"] == 17


@pytest.mark.parametrize("name", ["w32", "w48"])
def test_expected_shapes_are_exactly_those_of_the_released_files(manifests, name):
    state = _empty_state(manifests[name])
    source = find_format("logocap").from_torch(state)
    shapes = {path: array.shape for path, array in source.arrays.items()}
    assert not source.unknown
    assert expected_shapes(*recognise_weights(state)) == (shapes, [])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("center_offset", {}),
        ("logocap", {"embedding": 2, "message_channels": (4, 2), "affines": 3}),
        ("logocap", {"attentive_layer": None}),
    ],
)
def test_what_a_method_has_is_recognised_as_its_own(name, settings, small_settings):
    """The sizes of its tree make the same tree."""
    shapes = shapes_of(name, small_settings | settings)
    found, sizes = recognise_weights(shapes)
    assert found == name
    assert {key: sizes[key] for key in settings} == settings
    assert expected_shapes(found, sizes)[0] == {
        path: leaf.shape for path, leaf in shapes.items()
    }


def test_a_state_dict_of_the_baseline_is_not_taken_for_logocap(tiny_state):
    state = {
        key: array
        for key, array in tiny_state.items()
        if not key.startswith(("joints_mlp", "transition_embedding"))
    }
    name, settings = recognise_weights(state)
    assert name == "center_offset"
    assert settings == {key: TINY[key] for key in settings}
    assert "embedding" not in settings


def test_bare_backbone_is_no_whole_model(tiny_state):
    backbone = {k: v for k, v in tiny_state.items() if k.startswith("backbone.")}
    found = identify(backbone)
    assert found.settings is None
    absent = find_format("logocap").absent_modules(found.source.arrays)
    assert {"/".join(path.split("/")[:3]) for path in absent if "dense" in path} == {
        "params/dense/heatmap_head",
        "params/dense/offset_head",
        "params/dense/embedding_head",
    }
    assert "params/maps/output" in absent
    with pytest.raises(ValueError, match=r"no whole model.*lacks .*heatmap_head"):
        recognise_weights(backbone)


def test_methods_that_fit_equally_well_are_asked_about(tiny_state, monkeypatch):
    monkeypatch.setitem(METHODS, "twin", "logocap_jax.methods.logocap")
    with pytest.raises(ValueError, match="several methods, logocap, twin: name one"):
        recognise_weights(tiny_state)
    assert identify(tiny_state, "twin").settings == TINY


def test_a_part_is_written_by_the_table_that_has_it():
    maps = {"params/maps/output/bias": np.zeros(17)}
    assert find_table(maps) == "logocap"
    assert find_table({"params/dense/backbone/stem_conv1/kernel": np.zeros(1)})
    with pytest.raises(ValueError, match="got 1 arrays such as 'a', expected"):
        find_table({"a": np.zeros(1)})


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("backbone.conv1.weight", "stem_conv1/kernel: not among the weights"),
        ("backbone.stage3.0.", r"stage3_module\(\\d\+\): got numbers \[1\]"),
        ("backbone.layer1.2.", r"layer1_block.*got numbers \[0, 1, 3\]"),
        ("joints_mlp.3.", r"message\(\\d\+\)_conv: got numbers \[0, 2\]"),
        ("joints_mlp.9.", "maps/output/kernel: not among the weights"),
        ("backbone.", "backbone/.*: not among the weights"),
    ],
)
def test_incomplete_weights_are_refused_by_the_part(tiny_state, left_out, message):
    state = {k: v for k, v in tiny_state.items() if not k.startswith(left_out)}
    with pytest.raises(ValueError, match=message):
        recognise_weights(state)


def test_a_norm_that_is_absent_is_missing(tiny_state):
    state = {k: v for k, v in tiny_state.items() if not k.startswith("joints_mlp.4.")}
    with pytest.raises(ValueError, match=r"4 arrays missing .*message1_norm"):
        to_variables(state)
