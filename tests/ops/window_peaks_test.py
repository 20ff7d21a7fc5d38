import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.ops.gaussian import gaussian_window
from logocap_jax.ops.instance_conv import instance_convolution
from logocap_jax.ops.peaks import top_two
from logocap_jax.ops.sampling import sample_window, window_cells
from logocap_jax.ops.window_peaks import window_peaks

RADIUS, STRIDE, EXTENT, HEIGHT, WIDTH = 6, 4, 5, 7, 9
# In the middle, at a border, outside on either side.
CENTERS = [[13.3, 17.8], [0.0, 27.0], [-40.5, 3.25], [90.0, 90.0]]
WITHIN = [[7, 9], [7, 9], [7, 9], [5, 6]]
WEIGHT = gaussian_window(radius=RADIUS, sigma=3.0, cutoff=1e-2)


def _read(heatmaps):
    """What each window reads."""
    return jax.vmap(
        lambda center, within: window_cells(
            *(heatmaps, center, jnp.asarray(0)),
            radius=RADIUS,
            stride=STRIDE,
            valid_size=within,
        )
    )(jnp.asarray(CENTERS), jnp.asarray(WITHIN))


@jax.jit
def _fused(heatmaps, kernels):
    return window_peaks(
        *_read(heatmaps),
        *(jnp.asarray(CENTERS), jnp.asarray(WITHIN), kernels, WEIGHT),
        stride=STRIDE,
        interpret=True,
    )


@jax.jit
def _by_parts(heatmaps, kernels):
    windows = jax.vmap(
        lambda center, within: sample_window(
            *(heatmaps, center, jnp.asarray(0)),
            radius=RADIUS,
            stride=STRIDE,
            valid_size=within,
        )
    )(jnp.asarray(CENTERS), jnp.asarray(WITHIN))
    return jax.vmap(top_two)(instance_convolution(windows * WEIGHT, kernels))


@pytest.mark.parametrize("seed", range(3))
def test_kernel_finds_the_peaks_that_the_operations_one_by_one_find(seed):
    rng = np.random.default_rng(seed)
    heatmaps = rng.standard_normal((HEIGHT, WIDTH, 1)).astype(np.float32)
    kernels = rng.uniform(size=(len(CENTERS), EXTENT, EXTENT)).astype(np.float32)
    found, expected = _fused(heatmaps, kernels), _by_parts(heatmaps, kernels)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert np.ptp(expected[0], axis=0).min() > 0


def test_equal_values_come_in_the_order_of_the_operations():
    heatmaps = jnp.zeros((HEIGHT, WIDTH, 1))
    kernels = jnp.ones((len(CENTERS), EXTENT, EXTENT))
    positions, values = _fused(heatmaps, kernels)
    np.testing.assert_array_equal(positions, _by_parts(heatmaps, kernels)[0])
    np.testing.assert_array_equal(values, 0)


def test_a_single_one_in_the_kernel_shifts_the_peak_as_a_convolution_does():
    heatmaps = jnp.full((HEIGHT, WIDTH, 1), 1.0)
    kernels = jnp.zeros((len(CENTERS), EXTENT, EXTENT)).at[:, 4, 3].set(1)
    positions, values = _fused(heatmaps, kernels)
    # 2 down and 1 to the right of the window's middle.
    np.testing.assert_array_equal(positions[0, 0], [RADIUS + 1, RADIUS + 2])
    np.testing.assert_allclose(values[0, 0], 1, rtol=1e-6)


def test_kernel_lowers_for_tpus_at_the_size_of_the_models():
    def shaped(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    count, side = 17, 97
    exported = jax.export.export(
        jax.jit(functools.partial(window_peaks, stride=4)), platforms=["tpu"]
    )(
        *(shaped(count, 27, 27), shaped(count, 2, dtype=jnp.int32), shaped(count, 2)),
        *(shaped(count, 2, dtype=jnp.int32), shaped(count, 11, 11), shaped(side, side)),
    )
    assert exported.mlir_module().count("tpu_custom_call") == 1
