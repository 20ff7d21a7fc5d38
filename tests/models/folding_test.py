import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from logocap_jax.methods.logocap.network import MapPredictor
from logocap_jax.models.dense import DenseNetwork
from logocap_jax.models.folding import fold_batch_norm, prepare_variables
from logocap_jax.models.layers import BatchNorm, ConvNorm


@pytest.fixture(scope="module")
def networks(smallest, fill):
    """Both networks: module, variables and an input by name."""
    rng = np.random.default_rng(0)
    modules = {
        "dense": (DenseNetwork(smallest, 3, 4, jnp.float32, 5, 6), (1, 64, 32, 3)),
        "maps": (MapPredictor(3, (6, 5, 4), affines=2), (2, 5, 5, 6)),
    }
    filled = {}
    for name, (module, shape) in modules.items():
        x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
        init = jax.eval_shape(
            lambda x, module=module: module.init(jax.random.key(0), x, train=False), x
        )
        filled[name] = (module, fill(init), x)
    return filled


def _names(tree):
    return {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("name", ["dense", "maps"])
def test_folded_networks_compute_the_same(name, networks):
    module, variables, x = networks[name]
    apply = jax.jit(lambda variables, x: module.apply(variables, x, train=False))
    with jax.default_matmul_precision("highest"):
        expected = jax.tree.leaves(apply(variables, x))
        found = jax.tree.leaves(apply(fold_batch_norm(variables), x))
    for array, other in zip(found, expected, strict=True):
        scale = np.abs(other).max()
        assert scale > 0.1
        np.testing.assert_allclose(array, other, atol=1e-5 * scale)


def test_only_the_attentive_norm_keeps_statistics(networks):
    variables = {
        kind: {name: networks[name][1][kind] for name in networks}
        for kind in ("params", "batch_stats")
    }
    folded = fold_batch_norm(variables)
    assert _names(folded["batch_stats"]) == {
        f"['maps']['message1_norm']['norm']['{kind}']" for kind in ("mean", "var")
    }
    left = {name for name in _names(folded["params"]) if "scale" in name}
    assert left == {"['maps']['message1_norm']['scale']"}


def test_kernel_and_bias_are_those_of_the_equation():
    variables = {
        "params": {
            "conv": {"kernel": jnp.full((1, 1, 1, 2), 3.0)},
            "norm": {"scale": jnp.asarray([2.0, -1.0]), "bias": jnp.asarray([1.0, 0])},
        },
        "batch_stats": {
            "norm": {"mean": jnp.asarray([0.5, 4]), "var": jnp.asarray([4.0, 1])}
        },
    }
    folded = fold_batch_norm(variables)["params"]
    np.testing.assert_allclose(folded["conv"]["kernel"].ravel(), [3, -3], rtol=1e-5)
    np.testing.assert_allclose(folded["norm"]["bias"], [0.5, 4], rtol=1e-5)
    x = jnp.full((1, 1, 1, 1), 10.0)
    found = ConvNorm(2, kernel=1).apply({"params": folded}, x, train=False)
    np.testing.assert_allclose(found.ravel(), [30.5, -26], rtol=1e-5)


def test_the_bias_of_a_convolution_is_folded_too():
    rng = np.random.default_rng(0)
    names = ("kernel", "bias", "scale", "shift", "mean", "var")
    shapes = ((1, 1, 3, 2), *((2,),) * 5)
    given = {
        name: jnp.asarray(rng.uniform(0.5, 2, shape), jnp.float32)
        for name, shape in zip(names, shapes, strict=True)
    }
    conv = {"kernel": given["kernel"], "bias": given["bias"]}
    norm = {"scale": given["scale"], "bias": given["shift"]}
    moments = {"mean": given["mean"], "var": given["var"]}
    variables = {
        "params": {"a_conv": conv, "a_norm": norm},
        "batch_stats": {"a_norm": moments},
    }

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(2, (1, 1), name="a_conv")(x)
            return BatchNorm(name="a_norm")(x, train=False)

    x = jnp.asarray(rng.uniform(0.5, 2, (1, 4, 4, 3)), jnp.float32)
    folded = fold_batch_norm(variables)
    assert "mean" not in folded["batch_stats"]
    with jax.default_matmul_precision("highest"):
        found, expected = (Net().apply(tree, x) for tree in (folded, variables))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_norm_without_a_convolution_beside_it_stays():
    norm = {"scale": jnp.ones(2), "bias": jnp.ones(2)}
    moments = {"mean": jnp.ones(2), "var": jnp.ones(2)}
    for params in ({"norm": norm}, {"first": norm, "conv": {"kernel": jnp.ones(2)}}):
        name = next(iter(params))
        variables = {"params": params, "batch_stats": {name: moments}}
        jax.tree.map(
            np.testing.assert_array_equal, fold_batch_norm(variables), variables
        )


def test_folding_once_more_changes_nothing(networks):
    folded = fold_batch_norm(networks["maps"][1])
    again = fold_batch_norm(folded)
    assert _names(again) == _names(folded)
    jax.tree.map(np.testing.assert_array_equal, again, folded)


@pytest.mark.parametrize("name", ["dense", "maps"])
def test_prepared_variables_change_no_bit_of_the_result(name, networks):
    module, variables, x = networks[name]
    module = module.copy(dtype=jnp.bfloat16)
    apply = jax.jit(lambda variables, x: module.apply(variables, x, train=False))
    folded = fold_batch_norm(variables)
    prepared = prepare_variables(variables, dtype=jnp.bfloat16)
    jax.tree.map(np.testing.assert_array_equal, apply(prepared, x), apply(folded, x))
    dtypes = {x.dtype for x in jax.tree.leaves(prepared["params"])}
    # What the attentive norm computes with is float32 always.
    kept = {jnp.dtype(jnp.float32)} if name == "maps" else set()
    assert dtypes == {jnp.dtype(jnp.bfloat16)} | kept


def test_missing_statistics_are_not_taken_for_folded_ones():
    params = {"scale": jnp.ones(2), "bias": jnp.ones(2)}
    with pytest.raises(Exception, match="batch_stats"):
        BatchNorm().apply({"params": params}, jnp.ones((1, 2)), train=False)


def test_folded_variables_are_of_no_use_in_training():
    params = {"bias": jnp.ones(2)}
    with pytest.raises(Exception, match="scale"):
        BatchNorm().apply(
            {"params": params}, jnp.ones((1, 2)), train=True, mutable=["batch_stats"]
        )
