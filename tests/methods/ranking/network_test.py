"""The network's own rules (specification, 5 and 6)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config, find_method
from logocap_jax.methods.ranking.network import AdaptiveBlocks
from logocap_jax.ops.adaptive_conv import adaptive_convolution

CHANNELS = 3


def _norm(rng):
    return {
        "scale": jnp.asarray(rng.uniform(0.5, 1.5, CHANNELS), jnp.float32),
        "bias": jnp.asarray(rng.normal(0, 0.1, CHANNELS), jnp.float32),
    }


@pytest.fixture(scope="module")
def blocks():
    """Blocks with weights at which positions move far, and their input."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((1, 7, 9, CHANNELS)), jnp.float32)
    module = AdaptiveBlocks((1, 2, 3))
    variables = module.init(jax.random.key(0), x, train=False)
    params = dict(variables["params"])
    for n in (1, 2):
        kernel = rng.normal(0, 0.3, (3, 3, CHANNELS, 4))
        params[f"transform{n}"] = {"kernel": jnp.asarray(kernel, jnp.float32)}
    for i in range(3):
        params[f"branch{i}"] = {
            f"transform{n}": {"bias": jnp.asarray(rng.normal(0, 1, 4), jnp.float32)}
            for n in (1, 2)
        } | {f"norm{n}": _norm(rng) for n in (1, 2)}
    return module, {**variables, "params": params}, x


def test_blocks_share_kernels_and_have_their_own_biases_and_norms(blocks):
    module, variables, x = blocks
    params = variables["params"]
    found = module.apply(variables, x, train=False)

    def conv(n, y, dilation, block):
        matrix = jax.lax.conv_general_dilated(
            x,
            params[f"transform{n}"]["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        matrix = (matrix + params[block][f"transform{n}"]["bias"]).reshape(
            1, 7, 9, 1, 2, 2
        )
        kernel = params[f"conv{n}"]["kernel"]
        y = adaptive_convolution(y, kernel, matrix, dilation=dilation)
        norm = params[block][f"norm{n}"]
        return y / np.sqrt(1 + 1e-5) * norm["scale"] + norm["bias"]

    for i, dilation in enumerate((1, 2, 3)):
        middle = jnp.maximum(conv(1, x, dilation, f"branch{i}"), 0)
        end = jnp.maximum(conv(2, middle, dilation, f"branch{i}") + x, 0)
        np.testing.assert_allclose(found[i].middle, middle, atol=1e-4)
        np.testing.assert_allclose(found[i].output, end, atol=1e-4)


def test_without_adaptive_convolutions_blocks_are_ordinary_dilated_ones(blocks):
    module, variables, x = blocks
    plain = AdaptiveBlocks(module.dilations, adaptive=False)
    kept = {
        name: leaf for name, leaf in variables["params"].items() if "tr" not in name
    }
    shapes = plain.init(jax.random.key(0), x, train=False)["params"]
    assert "transform1" not in shapes
    found = plain.apply({**variables, "params": kept}, x, train=False)
    for block, dilation in zip(found, module.dilations, strict=True):
        y = jax.lax.conv_general_dilated(
            x,
            kept["conv1"]["kernel"],
            (1, 1),
            [(dilation, dilation)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        norm = kept[f"branch{dilation - 1}"]["norm1"]
        y = jnp.maximum(y / np.sqrt(1 + 1e-5) * norm["scale"] + norm["bias"], 0)
        np.testing.assert_allclose(block.middle, y, atol=1e-5)


def _first_mean(settings):
    """The running mean of the heatmap head's first norm after a step from 0."""
    spec = find_method("ranking")
    network = build_config("ranking", spec.tiny | settings).network()
    features = np.random.default_rng(2).standard_normal((2, 8, 8, 60))
    features = jnp.asarray(features, jnp.float32)
    variables = network.init(jax.random.key(0), features, train=False, part="heads")
    _, updates = network.apply(
        variables, features, train=True, part="heads", mutable=["batch_stats"]
    )
    heads = updates["batch_stats"]
    assert np.abs(heads["offset_head"]["input"]["norm"]["mean"]).max() > 0
    return np.asarray(heads["heatmap_head"]["input"]["norm"]["mean"])


def test_statistics_of_the_first_layer_move_once_per_block():
    """Reference behaviour: it runs once for each of three blocks."""
    once = _first_mean({"quirks": "fixed"})
    thrice = _first_mean({})
    np.testing.assert_allclose(thrice, once / 0.1 * (1 - 0.9**3), rtol=1e-4)
    np.testing.assert_array_equal(_first_mean({"fine_hidden": 4}), once)


def test_without_guidance_the_regression_head_reads_features_alone():
    spec = find_method("ranking")
    kernels = {}
    for guidance in (True, False):
        config = build_config("ranking", spec.tiny | {"guidance": guidance})
        shapes = jax.eval_shape(spec.make(config).init, jax.random.key(0))
        head = shapes["params"]["dense"]["offset_head"]
        kernels[guidance] = head["input"]["conv"]["kernel"].shape[2]
    assert kernels[True] - kernels[False] == 17
