import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.logocap.network import MapPredictor


@pytest.fixture(scope="module")
def features():
    values = np.random.default_rng(0).standard_normal((4, 5, 5, 6))
    return jnp.asarray(values, jnp.float32)


@pytest.fixture(scope="module")
def predictor(features, fill):
    module = MapPredictor(num_keypoints=3, channels=(4, 5, 6), affines=2)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), features, train=False)
    )
    return module, fill(shapes)


def test_slots_that_take_no_part_change_nothing_for_the_others(predictor, features):
    module, variables = predictor
    mask = jnp.asarray([True, False, True, False])

    @jax.jit
    def run(features):
        return module.apply(
            variables, features, train=True, mask=mask, mutable=["batch_stats"]
        )

    kam, stats = run(features)
    other, other_stats = run(jnp.where(mask[:, None, None, None], features, 50.0))
    assert kam.shape == (4, 5, 5, 3)
    np.testing.assert_allclose(other[mask], kam[mask], atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, other_stats
    )


def test_packed_slots_have_the_statistics_of_the_masked_ones(predictor, features):
    module, variables = predictor
    mask = jnp.asarray([True, False, True, False])
    masked, masked_stats = module.apply(
        variables, features, train=True, mask=mask, mutable=["batch_stats"]
    )
    packed, packed_stats = module.apply(
        variables, features[mask], train=True, mutable=["batch_stats"]
    )
    np.testing.assert_allclose(packed, masked[mask], atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        packed_stats,
        masked_stats,
    )


@pytest.mark.parametrize(("attentive", "count"), [(0, 1), (1, 1), (None, 0)])
def test_attentive_norm_is_where_it_was_asked_for(attentive, count):
    module = MapPredictor(num_keypoints=3, channels=(4, 5), attentive=attentive)
    features = jax.ShapeDtypeStruct((1, 5, 5, 6), jnp.float32)
    variables = jax.eval_shape(
        lambda f: module.init(jax.random.key(0), f, train=False), features
    )
    found = [name for name, leaf in variables["params"].items() if "attention" in leaf]
    assert len(found) == count
    assert found == [f"message{attentive}_norm"] * count
