import jax
import jax.numpy as jnp
import numpy as np
import pytest
from logocap_jax.weights.architecture import Architecture, read_architecture
from logocap_jax.weights.shapes import expected_shapes
from logocap_jax.weights.state_dict import state_dict_to_variables
from logocap_jax.weights.torch_keys import find_torch_key

from logocap_jax.methods.logocap.network import MapPredictor
from logocap_jax.models.dense import DenseNetwork
from logocap_jax.models.hrnet import HRNetConfig
from logocap_jax.weights.trees import flatten

TINY = Architecture(
    channels=8,
    stem_channels=64,
    layer1_channels=64,
    layer1_blocks=4,
    modules=(1, 2, 2),
    blocks=2,
    heatmap_hidden=8,
    offset_hidden=32,
    embedding=8,
    message_channels=(32, 24, 16),
    affines=10,
    num_keypoints=17,
)


def _empty_state(manifest):
    """Arrays of the right shapes that take no memory."""
    return {key: np.broadcast_to(0.0, shape) for key, shape in manifest.items()}


def test_small_model_is_read_from_state_dict_and_from_variables(tiny_state):
    variables, _ = state_dict_to_variables(tiny_state)
    assert read_architecture(tiny_state) == TINY
    assert read_architecture(variables) == TINY


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("w32", {"channels": 32, "heatmap_hidden": 32, "modules": (1, 4, 3)}),
        (
            "w48",
            {"channels": 48, "heatmap_hidden": 48, "message_channels": (512, 256, 128)},
        ),
    ],
)
def test_released_sizes_are_read_from_the_manifest(manifests, name, sizes):
    architecture = read_architecture(_empty_state(manifests[name]))
    assert {key: getattr(architecture, key) for key in sizes} == sizes
    assert (architecture.blocks, architecture.affines) == (4, 20)
    assert architecture.offset_hidden == 256
    assert architecture.absent_parts() == []


@pytest.mark.parametrize("name", ["w32", "w48"])
def test_expected_shapes_are_exactly_those_of_the_released_files(manifests, name):
    state = _empty_state(manifests[name])
    entries = {key: find_torch_key(key) for key in state}
    shapes = {
        entry.path: entry.layout.to_ours(state[key]).shape
        for key, entry in entries.items()
        if entry is not None
    }
    assert expected_shapes(read_architecture(state)) == shapes


def test_expected_shapes_are_those_of_the_networks():
    backbone = HRNetConfig(channels=8, modules=(1, 2, 2), blocks=2)
    dense = DenseNetwork(backbone, 17, heatmap_hidden=8, offset_hidden=32, embedding=8)
    maps = MapPredictor(17, channels=(32, 24, 16), affines=10)
    key = jax.random.key(0)

    def init(image, mesh):
        parts = {
            "dense": dense.init(key, image, train=False),
            "maps": maps.init(key, mesh, train=False),
        }
        return {
            collection: {part: tree[collection] for part, tree in parts.items()}
            for collection in ("params", "batch_stats")
        }

    image, mesh = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 11, 11, 17 * 8))
    tree = flatten(jax.eval_shape(init, image, mesh))
    assert expected_shapes(TINY) == {path: leaf.shape for path, leaf in tree.items()}


def test_bare_backbone_lacks_all_heads(tiny_state):
    backbone = {k: v for k, v in tiny_state.items() if k.startswith("backbone.")}
    architecture = read_architecture(backbone)
    assert architecture.channels == 8
    assert architecture.num_keypoints is None
    assert architecture.absent_parts() == [
        "params/dense/heatmap_head",
        "params/dense/offset_head",
        "params/dense/embedding_head",
        "params/maps",
    ]


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("backbone.conv1.weight", "stem_conv1/kernel: not among the weights"),
        ("backbone.stage3.0.", r"stage3_module\(\\d\+\): got numbers \[1\]"),
        ("backbone.layer1.2.", r"layer1_block.*got numbers \[0, 1, 3\]"),
        ("joints_mlp.3.", "message1_conv/kernel: not among"),
        ("joints_mlp.4.", r"message1_norm/scale: got shape \(\)"),
        ("backbone.", "not among the weights, expected an HRNet's"),
    ],
)
def test_incomplete_weights_are_refused_by_the_part(tiny_state, left_out, message):
    state = {k: v for k, v in tiny_state.items() if not k.startswith(left_out)}
    with pytest.raises(ValueError, match=message):
        read_architecture(state)
