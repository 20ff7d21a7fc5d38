from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference.gaussian_fit import fit_gaussian
from tests.reference import gaussian_fit as reference

HEIGHT, WIDTH = 60, 75
POINTS = 60
RULES = [
    pytest.param({}, id="reference"),
    pytest.param({"quirks": "fixed"}, id="fixed"),
    pytest.param({"clip": True}, id="clipped"),
]


def _heatmap(seed, noise):
    """The largest of a few Gaussians as wide as targets upsampled to input px."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    peaks = rng.uniform((0.3, 3, 3, 3), (1, HEIGHT - 3, WIDTH - 3, 9), (5, 4))
    bells = [
        height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sd**2))
        for height, row, column, sd in peaks
    ]
    heatmap = np.max(bells, axis=0) + rng.normal(0, noise, y.shape)
    near = (
        rng.normal(0, 3, (POINTS // 2, 2))
        + peaks[rng.integers(0, 5, POINTS // 2), 2:0:-1]
    )
    anywhere = rng.uniform(-9, (WIDTH + 9, HEIGHT + 9), (POINTS // 2, 2))
    return (
        heatmap.astype(np.float32),
        np.concatenate([near, anywhere]).astype(np.float32),
    )


def _fit_all(heatmap, points, wanted=None, size=None, **rule):
    fit = partial(fit_gaussian, valid_size=size, **rule)
    wanted = np.ones(len(points), bool) if wanted is None else wanted
    return jax.jit(jax.vmap(fit, (None, None, 0, 0)))(
        jnp.asarray(heatmap[..., None]),
        jnp.zeros((), int),
        jnp.asarray(points),
        jnp.asarray(wanted),
    )


@pytest.mark.parametrize("rule", RULES)
def test_fits_end_where_those_of_minpack_do(rule):
    errors, disagree = [], 0
    for seed, noise in ((0, 0.0), (1, 0.003), (2, 0.02)):
        heatmap, points = _heatmap(seed, noise)
        fits = _fit_all(heatmap, points, **rule)
        for i, (x, y) in enumerate(points):
            expected = reference.fit(heatmap, x, y, **rule)
            disagree += (expected is None) == bool(fits.converged[i])
            if expected is None or not fits.converged[i]:
                continue
            amplitude, row, column, sd = expected
            # Bells narrower than a pixel, or holes, are what the noise makes them.
            near = np.hypot(column - x, row - y) < 3
            if near and amplitude > 0 and 1 < abs(sd) < 15:
                center = fits.center[i] - np.array([column, row])
                errors.append((np.hypot(*center), abs(fits.amplitude[i] - amplitude)))
    assert len(errors) > 25
    assert np.all(np.max(errors, axis=0) < (5e-4, 1e-4))
    assert disagree <= 2


def test_windows_cut_at_one_border_are_scrambled():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bell = np.exp(-((y - 30) ** 2 + (x - 4.0) ** 2) / (2 * 5**2)).astype(np.float32)
    corner = np.exp(-((y - 3) ** 2 + (x - 4.0) ** 2) / (2 * 5**2)).astype(np.float32)
    side = np.array([[3.0, 30.0]], np.float32)
    in_order = _fit_all(bell, side, quirks="fixed")
    np.testing.assert_allclose(in_order.center, [[4, 30]], atol=1e-4)
    np.testing.assert_allclose(in_order.amplitude, 1, atol=1e-5)
    scrambled = _fit_all(bell, side)
    assert np.hypot(*(scrambled.center[0] - np.array([4, 30]))) > 1
    # Cut to 10 x 10 px at a corner it is square again.
    square = _fit_all(corner, np.array([[3.0, 3.0]], np.float32))
    np.testing.assert_allclose(square.center, [[4, 3]], atol=1e-4)


def test_no_fit_at_the_border_or_unless_it_is_wanted():
    heatmap, _ = _heatmap(0, 0.003)
    points = np.array(
        [[0.4, 20], [20, 0], [WIDTH - 1, 20], [20, HEIGHT - 1], [20, 20], [WIDTH, 20]],
        np.float32,
    )
    wanted = np.array([True, True, True, True, False, True])
    assert not _fit_all(heatmap, points, wanted).converged.any()
    # `int(-0.4 + 0.5)` and `int(-1.4 + 0.5)` are 0.
    outside = np.array([[20, -0.4], [20, -1.4], [20, -7.5]], np.float32)
    assert not _fit_all(heatmap, outside).converged.any()


def test_before_the_first_row_the_fit_starts_at_the_opposite_side():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bell = np.exp(-((y - 1) ** 2 + (x - 30) ** 2) / (2 * 4**2)).astype(np.float32)
    points = np.array([[29.0, -2.6], [31.0, -1.9], [30.2, -6.2]], np.float32)
    bell[-9:] = 0.7  # another way from there leads to another end
    fits = _fit_all(bell, points)
    for i, (x, y) in enumerate(points):
        end = reference.fit(bell, x, y)
        assert (end is not None) == fits.converged[i]
        if end is not None:
            np.testing.assert_allclose(fits.amplitude[i], end[0], rtol=1e-3)
    assert fits.converged.any()
    assert not _fit_all(bell, points, quirks="fixed").converged.any()


def test_on_a_canvas_the_border_is_the_images():
    heatmap, points = _heatmap(4, 0.003)
    canvas = np.full((HEIGHT + 10, WIDTH + 20), 7, np.float32)
    canvas[:HEIGHT, :WIDTH] = heatmap
    alone = _fit_all(heatmap, points)
    shared = _fit_all(canvas, points, size=jnp.array([HEIGHT, WIDTH]))
    jax.tree.map(np.testing.assert_array_equal, alone, shared)


def test_a_perfect_gaussian_is_found_to_a_thousandth_of_a_pixel():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bell = 0.8 * np.exp(-((y - 30.3) ** 2 + (x - 41.7) ** 2) / (2 * 8**2))
    points = np.array([[38.0, 33.0], [41.7, 30.3], [45.2, 27.0]], np.float32)
    fits = _fit_all(bell.astype(np.float32), points)
    assert fits.converged.all()
    np.testing.assert_allclose(fits.center, [[41.7, 30.3]] * 3, atol=1e-4)
    np.testing.assert_allclose(fits.amplitude, 0.8, rtol=1e-5)


def test_a_flat_map_moves_nothing_far():
    """All slopes but the amplitude's are 0 at an amplitude of 0."""
    fits = _fit_all(np.zeros((HEIGHT, WIDTH), np.float32), np.full((1, 2), 30.0))
    np.testing.assert_array_equal(fits.center, [[30, 30]])
    np.testing.assert_array_equal(fits.amplitude, [0])
