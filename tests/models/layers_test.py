import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.models.layers import BasicBlock, BatchNorm, Bottleneck, conv
from tests.reference import normalization as reference

SHAPE = (6, 3, 3, 4)
OLD_MEAN, OLD_VAR = 0.5, 2.0


def _activations(seed=0, shape=SHAPE):
    values = np.random.default_rng(seed).normal(3, 2, shape)
    return jnp.asarray(values, jnp.float32)


def _variables(channels=4, affine=True):
    stats = {"mean": jnp.full(channels, OLD_MEAN), "var": jnp.full(channels, OLD_VAR)}
    params = {
        "scale": jnp.linspace(0.5, 2, channels),
        "bias": jnp.linspace(-1, 1, channels),
    }
    return (
        {"params": params, "batch_stats": stats} if affine else {"batch_stats": stats}
    )


def _train(x, mask=None):
    return BatchNorm().apply(
        _variables(x.shape[-1]), x, train=True, mask=mask, mutable=["batch_stats"]
    )


def _assert_like_reference(result, x, counts):
    y, updates = result
    expected, mean, var = reference.batch_norm(x, counts)
    params = _variables(x.shape[-1])["params"]
    expected = expected * np.asarray(params["scale"]) + np.asarray(params["bias"])
    np.testing.assert_allclose(y, expected, atol=2e-5)
    stats = updates["batch_stats"]
    np.testing.assert_allclose(
        stats["mean"], 0.9 * OLD_MEAN + 0.1 * mean, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        stats["var"], 0.9 * OLD_VAR + 0.1 * var, rtol=1e-5, atol=1e-6
    )


def test_training_normalises_by_the_batch_and_keeps_the_unbiased_variance():
    x = _activations()
    _assert_like_reference(_train(x), x, np.ones(SHAPE[:-1], bool))


def test_masked_entries_do_not_count_but_are_normalised():
    x = _activations()
    mask = np.array([True, False, True, True, False, False])
    counts = np.broadcast_to(mask[:, None, None], SHAPE[:-1])
    _assert_like_reference(_train(x, jnp.asarray(mask)[:, None, None]), x, counts)


def test_values_of_masked_entries_change_nothing_for_the_others():
    mask = jnp.asarray([True, False, True, True, False, False])
    x = _activations()
    y, updates = _train(x, mask[:, None, None])
    other, other_updates = _train(
        jnp.where(mask[:, None, None, None], x, 1e4), mask[:, None, None]
    )
    np.testing.assert_allclose(other[mask], y[mask], atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            other_updates["batch_stats"][name], updates["batch_stats"][name], rtol=1e-6
        )


def test_single_element_gives_finite_values_and_gradients():
    x = _activations(shape=(1, 4))
    _assert_like_reference(_train(x), x, np.ones(1, bool))

    def total(x):
        return jnp.sum(jnp.square(_train(x)[0]))

    assert np.all(np.isfinite(jax.grad(total)(x)))


def test_statistics_of_values_far_from_zero_keep_their_precision():
    x = _activations(shape=(64, 4)) * 1e-2 + 1e3
    _, updates = _train(x)
    expected = 0.9 * OLD_VAR + 0.1 * np.var(np.asarray(x, np.float64), axis=0, ddof=1)
    np.testing.assert_allclose(updates["batch_stats"]["var"], expected, rtol=1e-5)


def test_evaluation_uses_the_running_statistics():
    x = _activations()
    variables = _variables()
    y = BatchNorm().apply(variables, x, train=False)
    expected = (np.asarray(x) - OLD_MEAN) / np.sqrt(OLD_VAR + 1e-5)
    expected = expected * np.asarray(variables["params"]["scale"])
    expected = expected + np.asarray(variables["params"]["bias"])
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_norm_without_affine_has_no_parameters():
    x = _activations()
    variables = BatchNorm(affine=False).init(jax.random.key(0), x, train=True)
    assert set(variables) == {"batch_stats"}
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)  # not updated
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1)


def test_norm_computes_in_float32_and_returns_its_dtype():
    x = _activations().astype(jnp.bfloat16)
    norm = BatchNorm(dtype=jnp.bfloat16)
    y, updates = norm.apply(_variables(), x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert updates["batch_stats"]["mean"].dtype == jnp.float32


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_convolution_pads_both_sides_alike(stride, size):
    x = jnp.ones((1, size, size, 1))
    module = conv(1, 3, stride, name="conv")
    y = module.apply({"params": {"kernel": jnp.ones((3, 3, 1, 1))}}, x)
    padded = np.pad(np.ones((size, size)), 1)
    expected = [
        [padded[i : i + 3, j : j + 3].sum() for j in range(0, size, stride)]
        for i in range(0, size, stride)
    ]
    np.testing.assert_array_equal(y[0, :, :, 0], expected)


def test_convolution_starts_like_torch():
    module = conv(64, 3, use_bias=True, name="conv")
    params = module.init(jax.random.key(0), jnp.ones((1, 4, 4, 16)))["params"]
    bound = 1 / np.sqrt(9 * 16)
    largest = np.abs(params["kernel"]).max()
    assert 0.99 * bound < largest <= bound * (1 + 1e-6)


@pytest.mark.parametrize(
    ("block", "channels", "projected"),
    [(BasicBlock(), 4, False), (Bottleneck(1), 4, False), (Bottleneck(2), 8, True)],
)
def test_block_of_zeros_is_its_shortcut(block, channels, projected):
    x = jnp.abs(_activations())
    variables = jax.eval_shape(lambda: block.init(jax.random.key(0), x, train=False))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    y = block.apply(zeros, x, train=False)
    assert y.shape == (*SHAPE[:-1], channels)
    assert ("shortcut_conv" in variables["params"]) is projected
    np.testing.assert_array_equal(y, jnp.zeros_like(y) if projected else x)
