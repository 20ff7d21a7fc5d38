import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.models.layers import AttentiveNorm
from tests.reference import normalization as reference

INSTANCES, SIDE, CHANNELS, AFFINES = 5, 4, 3, 6
NORM = AttentiveNorm(affines=AFFINES)


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.01, 3, (INSTANCES, 1, 1, CHANNELS))
    values = rng.normal(0.5, 1, (INSTANCES, SIDE, SIDE, CHANNELS)) * spread
    return jnp.asarray(values, jnp.float32)


@pytest.fixture
def variables():
    rng = np.random.default_rng(1)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    return {
        "params": {
            "scale": draw(AFFINES, CHANNELS),
            "bias": draw(AFFINES, CHANNELS),
            "attention": {"kernel": 2 * draw(CHANNELS, AFFINES)},
        },
        "batch_stats": {
            "norm": {"mean": jnp.full(CHANNELS, 0.5), "var": jnp.full(CHANNELS, 2.0)}
        },
    }


@pytest.mark.parametrize("members", [range(INSTANCES), [0, 3]])
def test_training_equals_the_reference(x, variables, members):
    mask = np.isin(np.arange(INSTANCES), members)
    with jax.default_matmul_precision("highest"):
        y, updates = NORM.apply(
            variables,
            x,
            train=True,
            mask=jnp.asarray(mask)[:, None, None],
            mutable=["batch_stats"],
        )
    params = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), variables["params"]
    )
    counts = np.broadcast_to(mask[:, None, None], x.shape[:-1])
    expected, mean, var = reference.attentive_norm(
        x, params["scale"], params["bias"], params["attention"]["kernel"], counts
    )
    np.testing.assert_allclose(y, expected, atol=5e-5)
    stats = updates["batch_stats"]["norm"]
    np.testing.assert_allclose(stats["mean"], 0.9 * 0.5 + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 * 2.0 + 0.1 * var, rtol=1e-5)


def test_attention_reads_the_instance_not_the_batch(x, variables):
    together = NORM.apply(variables, x, train=False)
    alone = NORM.apply(variables, x[2:3], train=False)
    np.testing.assert_allclose(alone[0], together[2], atol=1e-5)


def test_attention_epsilon_bounds_the_weight_of_constant_channels(variables):
    constant = jnp.full((1, SIDE, SIDE, CHANNELS), 0.01)
    attention = variables["params"]["attention"]["kernel"]
    feature = 0.01 / np.sqrt(1e-3)
    weights = np.clip(feature * np.asarray(attention).sum(0) + 3, 0, 6) / 6
    y = NORM.apply(variables, constant, train=False)
    normalised = (0.01 - 0.5) / np.sqrt(2.0 + 1e-5)
    params = variables["params"]
    expected = weights @ np.asarray(params["scale"]) * normalised
    expected = expected + weights @ np.asarray(params["bias"])
    np.testing.assert_allclose(y[0, 0, 0], expected, rtol=1e-4, atol=1e-5)
