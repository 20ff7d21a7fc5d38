import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.models.dense import DenseNetwork
from logocap_jax.models.hrnet import TINY, W32, W48, HRNet


def _shapes(module, image, *, train=False):
    """Shapes of the result and of the variables, without computing anything."""

    def run(key, image):
        return module.init_with_output(key, image, train=train)

    return jax.eval_shape(run, jax.random.key(0), image)


def _size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("config", "channels"), [(TINY, 120), (W32, 480), (W48, 720)], ids=str
)
def test_features_have_stride_four_and_all_branches(config, channels):
    image = jax.ShapeDtypeStruct((2, 512, 768, 3), jnp.float32)
    features, _ = _shapes(HRNet(config), image)
    assert features.shape == (2, 128, 192, channels)


def test_w32_has_as_many_parameters_as_published():
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    _, variables = _shapes(HRNet(W32), image)
    assert _size(variables["params"]) == 29_305_536


@pytest.mark.parametrize("embedding", [0, 64])
def test_dense_maps_have_the_shapes_of_the_heads(embedding):
    network = DenseNetwork(W32, 17, 32, jnp.bfloat16, 256, embedding)
    image = jax.ShapeDtypeStruct((1, 512, 768, 3), jnp.float32)
    maps, variables = _shapes(network, image)
    shapes = [leaf.shape for leaf in maps]
    assert shapes == [
        (1, 128, 192, 18),
        (1, 128, 192, 17, 2),
        (1, 128, 192, embedding),
    ]
    assert {leaf.dtype for leaf in maps} == {jnp.dtype("float32")}
    assert ("embedding_head" in variables["params"]) is (embedding > 0)


@pytest.fixture(scope="module")
def features(smallest, fill):
    """Run the smallest HRNet on images, at test time and in training."""
    module = HRNet(smallest)
    _, shapes = _shapes(module, jnp.zeros((1, 64, 64, 3)))
    variables = fill(shapes)

    @jax.jit
    def run(images):
        trained, updates = module.apply(
            variables, images, train=True, mutable=["batch_stats"]
        )
        return module.apply(variables, images, train=False), trained, updates

    return run, variables


def test_images_of_a_batch_do_not_touch_each_other_at_test_time(features):
    run, _ = features
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3), np.float32)
    other = images.copy()
    other[1] += 1
    found, _, _ = run(images)
    changed, _, _ = run(other)
    assert found.shape == (2, 16, 24, 60)
    np.testing.assert_allclose(changed[0], found[0], rtol=1e-5, atol=1e-5)
    assert np.abs(np.asarray(changed[1] - found[1])).max() > 1e-2


def test_every_part_of_the_image_and_every_branch_is_alive(features):
    run, _ = features
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3), np.float32)
    found, _, _ = run(images)
    branches = np.split(np.asarray(found), [4, 12, 28], axis=-1)
    assert all(np.ptp(branch, axis=(1, 2)).max() > 1e-3 for branch in branches)
    assert np.all(np.isfinite(found))


def test_training_updates_all_statistics(features):
    run, variables = features
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3), np.float32)
    _, _, updates = run(images)
    before, after = variables["batch_stats"], updates["batch_stats"]
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
    assert all(jax.tree.leaves(moved))


@pytest.fixture(scope="module")
def remat_config(smallest):
    """One bottleneck and one exchange module: all kinds of what is rematerialised."""
    return dataclasses.replace(smallest, modules=(1, 0, 0))


def _dense(backbone, **changes):
    backbone = dataclasses.replace(backbone, **changes)
    return DenseNetwork(backbone, 2, 4, jnp.float32, 4, 4)


@pytest.fixture(scope="module")
def gradients(remat_config, fill):
    """With and without rematerialisation: the program of the gradient, its results."""
    _, shapes = _shapes(_dense(remat_config), jnp.zeros((1, 64, 64, 3)))
    variables = fill(shapes)
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3), np.float32)

    def compute(remat):
        module = _dense(remat_config, remat=remat)

        def loss(params):
            maps, updates = module.apply(
                {**variables, "params": params},
                jnp.asarray(images),
                train=True,
                mutable=["batch_stats"],
            )
            total = sum(jnp.sum(jnp.square(x)) for x in maps)
            return total, updates["batch_stats"]

        program = jax.jit(jax.grad(loss, has_aux=True)).lower(variables["params"])
        return program.as_text(), program.compile()(variables["params"])

    return {remat: compute(remat) for remat in (False, True)}


def test_rematerialisation_leaves_gradients_and_statistics_as_they_are(gradients):
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(
            other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max()
        ),
        gradients[False][1],
        gradients[True][1],
    )


def test_rematerialisation_computes_every_part_twice(gradients):
    plain, twice = (
        gradients[remat][0].count("stablehlo.convolution") for remat in (False, True)
    )
    # Those of the stem, the bottleneck, the transitions to two branches, a residual
    # block on each, the exchange, and the heads.
    assert twice == plain + 2 + 4 + 2 + 2 * 2 + 2 + 5
    assert "optimization_barrier" in gradients[True][0]


def test_rematerialisation_keeps_little_for_the_gradient(remat_config):
    """At the widths of W32; the residuals of a `vjp` are what is kept."""

    def kept(remat):
        sizes = {"stem_channels": 64, "layer1_channels": 64, "blocks": 4}
        module = _dense(remat_config, **sizes, channels=32, remat=remat)
        image = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
        _, variables = _shapes(module, image)

        def residuals(params, rest, image):
            def maps(params):
                variables = {**rest, "params": params}
                return module.apply(
                    variables, image, train=True, mutable=["batch_stats"]
                )[0]

            return jax.vjp(maps, params)[1]

        rest = {"batch_stats": variables["batch_stats"]}
        found = jax.eval_shape(residuals, variables["params"], rest, image)
        # Weights are there in any case.
        return _size(found) - _size(variables["params"])

    assert kept(True) < kept(False) / 6


def test_rematerialisation_leaves_fresh_variables_as_they_are(remat_config):
    def fresh(remat):
        module = _dense(remat_config, remat=remat)
        key = jax.random.key(0, impl="rbg")  # compiles faster than the default
        return jax.jit(module.init, static_argnames="train")(
            key, jnp.zeros((1, 64, 64, 3)), train=False
        )

    jax.tree.map(np.testing.assert_array_equal, fresh(False), fresh(True))
