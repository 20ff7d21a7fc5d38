"""The adaptive convolution against a loop over pixels, taps and neighbours."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.ops.adaptive_conv import adaptive_convolution, sampled_positions


def read(channels, y, x):
    """Bilinear, zeros outside."""
    total = np.zeros(channels.shape[-1])
    y0, x0 = math.floor(y), math.floor(x)
    for row, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= row < channels.shape[0] and 0 <= column < channels.shape[1]:
                total += wy * wx * channels[row, column]
    return total


def by_loops(x, kernel, transform, shift, dilation):
    batch, height, width, groups = transform.shape[:4]
    inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
    result = np.zeros((batch, height, width, kernel.shape[-1]))
    for b, y, q, group, i in np.ndindex(batch, height, width, groups, 9):
        tap = np.array([i // 3 - 1, i % 3 - 1])
        place = np.array([y, q]) + (dilation - 1) * tap
        place = place + transform[b, y, q, group] @ tap + shift[b, y, q, group]
        channels = x[b, :, :, group * inputs : (group + 1) * inputs]
        of_group = slice(group * outputs, (group + 1) * outputs)
        weights = kernel[i // 3, i % 3][:, of_group]
        result[b, y, q, of_group] += read(channels, *place) @ weights
    return result


def draw(seed, *, groups=3, whole=False, reach=2.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 5, 4, groups * 2))
    kernel = rng.normal(size=(3, 3, 2, groups * 3))
    transform = rng.normal(size=(2, 5, 4, groups, 2, 2)) * reach
    shift = rng.normal(size=(2, 5, 4, groups, 2)) * reach
    if whole:
        transform, shift = np.round(transform), np.round(shift)
    return x, kernel, transform, shift


@pytest.mark.parametrize(
    ("options", "dilation"),
    [({}, 1), ({"groups": 1}, 3), ({"whole": True}, 2), ({"reach": 40.0}, 1)],
    ids=["groups", "dilated", "whole positions", "far"],
)
def test_it_is_the_sum_of_nine_taps(options, dilation):
    arguments = draw(0, **options)
    with jax.enable_x64(True):
        found = adaptive_convolution(*map(jnp.asarray, arguments), dilation=dilation)
    expected = by_loops(*arguments, dilation)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("dilation", [1, 2])
def test_derivatives_are_those_to_the_right(dilation):
    """Differences to the right of whole positions, where the form has a kink."""
    arguments = draw(1, groups=2, whole=True)
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(2, 5, 4, 6))

    def loss(x, kernel, shift):
        transform = jnp.asarray(arguments[2])
        maps = adaptive_convolution(x, kernel, transform, shift, dilation=dilation)
        return jnp.sum(maps * weight)

    with jax.enable_x64(True):
        given = [jnp.asarray(arguments[i]) for i in (0, 1, 3)]
        grads = jax.grad(loss, argnums=(0, 1, 2))(*given)
        for number, grad in enumerate(grads):
            for place in rng.integers(0, given[number].size, 4):
                step = np.zeros(given[number].size)
                step[place] = 1e-4  # stays within the cell, where the form is linear
                moved = list(given)
                moved[number] = given[number] + step.reshape(given[number].shape)
                difference = (loss(*moved) - loss(*given)) / 1e-4
                np.testing.assert_allclose(grad.ravel()[place], difference, atol=1e-8)


def test_at_the_border_one_rule_sees_no_derivative():
    """A sample at exactly -1 reads zeros; to its right lies the first column."""
    x = jnp.ones((1, 3, 3, 1))
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    shift = jnp.zeros((1, 3, 3, 1, 2)).at[0, :, 0, 0, 1].set(-1)

    def total(shift, zero):
        transform = jnp.zeros((1, 3, 3, 1, 2, 2))
        maps = adaptive_convolution(x, kernel, transform, shift, zero_at_border=zero)
        return jnp.sum(maps)

    for zero, expected in ((False, 1), (True, 0)):
        grad = jax.grad(total)(shift, zero)
        np.testing.assert_array_equal(grad[0, :, 0, 0, 1], expected)


def test_sampled_positions_are_taps_about_the_pixel():
    transform = jnp.asarray([[2.0, 0.0], [0.0, 3.0]])  # down doubled, right tripled
    taps = sampled_positions(transform, jnp.asarray([0.5, 0.0]), dilation=2)
    assert taps.shape == (9, 2)
    np.testing.assert_allclose(taps[0], [-4.0, -2.5])  # (x, y)
    np.testing.assert_allclose(taps[4], [0.0, 0.5])
    np.testing.assert_allclose(taps[8], [4.0, 3.5])
