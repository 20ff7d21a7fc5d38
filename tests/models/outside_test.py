import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from logocap_jax.models.adaptive import AdaptiveConv, GroupedConv
from logocap_jax.models.layers import BasicBlock, BatchNorm
from logocap_jax.models.outside import zeros_outside

SIDE = 32
VALID = np.array([[32, 16], [16, 32]])


class Pool(nn.Module):
    def __call__(self, x):
        return nn.max_pool(x, (3, 3), padding="SAME")


class Adaptive(nn.Module):
    """Has weights of its own, and calls a known module as well."""

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.ones, (3,))
        return nn.Conv(3, (3, 3))(x) + jnp.roll(x, 1, axis=1) * weight


class Moved(nn.Module):
    """Taps that reach far, and beyond the image."""

    @nn.compact
    def __call__(self, x):
        transform = GroupedConv(
            1, (2, 2), kernel_init=nn.initializers.normal(3.0), name="transform"
        )(x)
        return AdaptiveConv(3)(x, transform)


class Net(nn.Module):
    """A known module, and one that is looked at."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x):
        x = BasicBlock()(x, train=False)
        return self.inner(x)


def _run(module, x):
    net = Net(module)
    variables = net.init(jax.random.key(0), x)
    with zeros_outside(jnp.asarray(VALID), x):
        return variables, net.apply(variables, x)


@pytest.fixture(scope="module")
def noise():
    values = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 3))
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize(
    "module",
    [
        nn.ConvTranspose(3, (4, 4), strides=(2, 2), padding="CIRCULAR"),
        nn.ConvLocal(3, (3, 3)),
        nn.Conv(3, (3, 3), padding="CIRCULAR"),
        nn.Conv(3, (3, 3), padding="REFLECT"),
        nn.GroupNorm(num_groups=1),
        Pool(),
        Adaptive(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_modules_that_may_mix_positions_are_refused_by_name(module, noise):
    name = type(module).__name__
    with pytest.raises(ValueError, match=f"inner: got a {name} on a canvas") as error:
        _run(module, noise)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv(3, (3, 3)),
        nn.Conv(3, (3, 3), feature_group_count=3),
        nn.ConvTranspose(3, (4, 4), strides=(2, 2)),
        nn.Dense(2),
        Moved(),
    ],
)
def test_known_modules_see_each_image_alone(module, noise):
    variables, found = _run(module, noise)
    for row, (height, width) in enumerate(VALID):
        alone = Net(module).apply(variables, noise[row : row + 1, :height, :width])
        height, width = alone.shape[1:3]
        np.testing.assert_allclose(
            found[row, :height, :width], alone[0], rtol=1e-4, atol=1e-4
        )


def test_norms_are_known_folded_or_not(noise):
    for params in ({"scale": jnp.ones(3), "bias": jnp.ones(3)}, {"bias": jnp.ones(3)}):
        stats = {"mean": jnp.ones(3), "var": jnp.ones(3)}
        variables = {"params": params, "batch_stats": stats}
        with zeros_outside(jnp.asarray(VALID), noise):
            found = BatchNorm().apply(variables, noise, train=False)
        assert found.shape == noise.shape
