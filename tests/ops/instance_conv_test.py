import functools

import jax
import jax.numpy as jnp
import jax.scipy.signal
import numpy as np
import pytest
import scipy.signal

from logocap_jax.ops.instance_conv import instance_convolution

INSTANCES, SIDE = 3, 13
KERNEL_SIZES = [3, 7, 11]


def _arrays(kernel_size, side=SIDE, seed=0):
    rng = np.random.default_rng(seed)
    windows = rng.standard_normal((INSTANCES, side, side)).astype(np.float32)
    kernels = rng.standard_normal((INSTANCES, kernel_size, kernel_size)).astype(
        np.float32
    )
    return windows, kernels


def _plain(windows, kernels):
    """What autodiff of a library's own convolution knows of."""
    convolve = functools.partial(
        jax.scipy.signal.convolve2d, mode="same", precision="highest"
    )
    return jax.vmap(convolve)(windows, kernels)


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_convolution_is_that_of_scipy(kernel_size):
    windows, kernels = _arrays(kernel_size)
    found = jax.jit(instance_convolution)(windows, kernels)
    expected = [
        scipy.signal.convolve2d(window, kernel, mode="same")
        for window, kernel in zip(windows, kernels, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_kernel_is_flipped():
    window = jnp.zeros((1, 5, 5)).at[0, 2, 2].set(1)
    kernel = jnp.arange(9.0).reshape(1, 3, 3)
    found = instance_convolution(window, kernel)
    np.testing.assert_array_equal(found[:, 1:4, 1:4], kernel)


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_gradients_are_those_of_autodiff(kernel_size):
    windows, kernels = _arrays(kernel_size)
    weights = jnp.asarray(_arrays(kernel_size, seed=1)[0])

    def total(convolve, windows, kernels):
        return jnp.sum(weights * convolve(windows, kernels))

    def gradients(convolve):
        gradient = jax.grad(functools.partial(total, convolve), argnums=(0, 1))
        return jax.jit(gradient)(windows, kernels)

    for found, expected in zip(
        gradients(instance_convolution), gradients(_plain), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_batched_values_and_gradients_are_those_of_each_example():
    pairs = (np.stack([x, 2 * x[::-1]]) for x in _arrays(3, side=6))
    windows, kernels = map(jnp.asarray, pairs)

    def total(windows, kernels):
        return jnp.sum(jnp.square(instance_convolution(windows, kernels)))

    compute = jax.value_and_grad(total, argnums=(0, 1))
    batched = jax.jit(jax.vmap(compute))(windows, kernels)
    alone = [compute(w, k) for w, k in zip(windows, kernels, strict=True)]
    jax.tree.map(
        lambda found, *expected: np.testing.assert_allclose(
            found, expected, rtol=1e-5, atol=1e-4
        ),
        batched,
        *alone,
    )
