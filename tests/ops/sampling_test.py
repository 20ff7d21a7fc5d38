import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import geometry
from logocap_jax.ops.sampling import (
    bilinear_sample,
    bilinear_taps,
    sample_window,
    upsampled_weights,
)
from tests.reference import sampling

HEIGHT, WIDTH = 9, 12
STRIDE, RADIUS = 4, 5

# Positions along an axis of 12: outside, at borders, at integers, at the far edge.
POSITIONS = [-40.0, -1.0, -0.25, 0.0, 0.5, 3.0, 10.75, 11.0, 11.25, 12.0, 12.5, 60.0]
# Centres of windows on the upsampled map, 48 wide and 36 high.
CENTERS = [
    (15.3, 12.6),
    (15.0, 12.0),
    (0.0, 0.0),
    (47.0, 35.0),  # both at L - 1
    (47.4, 35.6),
    (10.5, 35.0),
    (-0.3, 30.5),
    (-3.0, 39.2),
    (-100.5, 16.2),
    (200.25, 16.2),
    (24.1, -300.0),
    (48.0, 500.75),
    (-1e6, 1e6),
]


@pytest.fixture
def heatmap():
    rng = np.random.default_rng(0)
    return rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def sample_jitted():
    return jax.jit(bilinear_sample)


def _window(heatmap, center):
    # The second heatmap of two; the first must not be seen.
    heatmaps = jnp.stack([jnp.full_like(heatmap, jnp.nan), heatmap], axis=-1)
    return sample_window(heatmaps, center, jnp.asarray(1), radius=RADIUS, stride=STRIDE)


def _window_in_two_steps(heatmap, center):
    """Upsampled by JAX, then sampled."""
    steps = jnp.arange(-RADIUS, RADIUS + 1, dtype=jnp.float32)
    points = jnp.stack(jnp.meshgrid(center[0] + steps, center[1] + steps), axis=-1)
    upsampled = jax.image.resize(heatmap, (STRIDE * HEIGHT, STRIDE * WIDTH), "bilinear")
    return bilinear_sample(upsampled[..., None], points)[..., 0]


@pytest.fixture(scope="module")
def window_jitted():
    return jax.jit(_window)


def test_sampling_equals_the_loop_inside_outside_and_at_edges(sample_jitted):
    maps = np.random.default_rng(0).standard_normal((HEIGHT, WIDTH, 3))
    maps = maps.astype(np.float32)
    points = np.stack(np.meshgrid(POSITIONS, POSITIONS), axis=-1).astype(np.float32)
    expected = sampling.sample_points(maps, points)
    np.testing.assert_allclose(sample_jitted(maps, points), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (-5.0, 1.0),  # repeats the first value
        (-0.5, 1.0),
        (0.0, 1.0),
        (1.25, 2.5),
        (2.0, 4.0),
        (2.999, 7.996),
        (3.0, 0.0),  # the far edge: both weights are 0
        (3.25, 2.0),  # and grow back
        (4.0, 8.0),
        (9.0, 8.0),
    ],
)
def test_far_edge_reads_zero_and_grows_back(position, expected):
    row = jnp.asarray([1.0, 2.0, 4.0, 8.0])
    maps = jnp.tile(row[None, :, None], (3, 1, 1))
    sampled = bilinear_sample(maps, jnp.asarray([position, 1.0]))
    assert sampled.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("position", POSITIONS)
def test_taps_equal_the_loop(position):
    found = bilinear_taps(jnp.asarray(position), 12)
    expected = sampling.taps(position, 12)
    for (index, weight), (expected_index, expected_weight) in zip(
        found, expected, strict=True
    ):
        assert weight == pytest.approx(expected_weight)
        assert index == expected_index


def test_sampling_takes_points_of_any_shape(sample_jitted):
    maps = jnp.ones((4, 4, 2))
    assert sample_jitted(maps, jnp.ones((3, 5, 2))).shape == (3, 5, 2)
    assert sample_jitted(maps, jnp.ones(2)).shape == (2,)


@pytest.mark.parametrize("center", CENTERS)
def test_window_of_the_upsampled_map_equals_the_loop(heatmap, center, window_jitted):
    center = np.asarray(center, np.float32)
    upsampled = sampling.resize_half_pixel(heatmap, STRIDE)
    expected = sampling.window(upsampled, center, RADIUS)
    np.testing.assert_allclose(window_jitted(heatmap, center), expected, atol=2e-5)


@pytest.fixture(scope="module")
def gradients():
    """The gradients of a weighted sum of both forms, towards the heatmap."""
    weights = np.random.default_rng(1).standard_normal((2 * RADIUS + 1,) * 2)
    weights = jnp.asarray(weights, jnp.float32)

    def gradient(sample):
        return jax.grad(lambda *args: jnp.sum(weights * sample(*args)))

    forms = (_window, _window_in_two_steps)
    return jax.jit(lambda *args: [gradient(form)(*args) for form in forms])


@pytest.mark.parametrize("center", CENTERS)
def test_gradient_is_that_of_upsampling_and_sampling(heatmap, center, gradients):
    at_once, in_two_steps = gradients(heatmap, np.asarray(center, np.float32))
    np.testing.assert_allclose(at_once, in_two_steps, atol=2e-5)


def test_windows_of_a_batch_are_those_of_each_center(heatmap, window_jitted):
    centers = np.asarray(CENTERS[:4], np.float32)
    batched = jax.vmap(window_jitted, in_axes=(None, 0))(heatmap, centers)
    for one, center in zip(batched, centers, strict=True):
        np.testing.assert_allclose(one, window_jitted(heatmap, center), atol=1e-6)


def test_window_of_one_image_among_several_is_that_of_its_own_map():
    maps = np.random.default_rng(2).standard_normal((3, HEIGHT, WIDTH, 2))
    maps = jnp.asarray(maps, jnp.float32)
    images, centers = jnp.asarray([2, 0, 2, 1]), jnp.asarray(CENTERS[:4])

    def sample(maps, image, center):
        return sample_window(
            maps, center, jnp.asarray(0), radius=2, stride=STRIDE, image=image
        )

    found = jax.vmap(sample, in_axes=(None, 0, 0))(maps, (images,), centers)
    for one, image, center in zip(found, images, centers, strict=True):
        np.testing.assert_array_equal(one, sample(maps[image], (), center))


@pytest.mark.parametrize("center", CENTERS)
def test_window_of_a_part_of_the_map_is_that_of_the_part_alone(center):
    maps = np.random.default_rng(3).standard_normal((HEIGHT, WIDTH, 1))
    maps = jnp.asarray(maps, jnp.float32)
    height, width = 6, 5

    def sample(maps, valid_size):
        return sample_window(
            *(maps, jnp.asarray(center), jnp.asarray(0)),
            **{"radius": RADIUS, "stride": STRIDE, "valid_size": valid_size},
        )

    found = sample(maps, jnp.asarray([height, width]))
    alone = sample(maps[:height, :width], None)
    np.testing.assert_allclose(found, alone, atol=1e-6)


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("middle", [0.0, 1.5, 3.0])
def test_cells_may_lie_elsewhere_than_at_half_pixels(center, middle):
    maps = np.random.default_rng(5).standard_normal((HEIGHT, WIDTH, 1))
    maps = jnp.asarray(maps, jnp.float32)
    found = sample_window(
        *(maps, jnp.asarray(center), jnp.asarray(0)),
        **{"radius": RADIUS, "stride": STRIDE, "middle": middle},
    )
    upsampled = geometry.upsample_to_input(
        maps, cells=geometry.CellRule(STRIDE, middle)
    )
    expected = sampling.window(np.asarray(upsampled[..., 0]), np.array(center), RADIUS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_points_of_one_image_among_several_are_those_of_its_own_maps():
    maps = np.random.default_rng(4).standard_normal((3, HEIGHT, WIDTH, 2))
    maps = jnp.asarray(maps, jnp.float32)
    points = jnp.asarray([[1.5, 2.25], [20.0, -3.0]])
    found = bilinear_sample(maps, points, image=(jnp.asarray(1),))
    np.testing.assert_array_equal(found, bilinear_sample(maps[1], points))


@pytest.mark.parametrize(
    ("position", "total"), [(-9.0, 1), (0.0, 1), (21.7, 1), (47.0, 0), (47.25, 0.25)]
)
def test_weights_sum_to_one_but_at_the_far_edge(position, total):
    weights = upsampled_weights(
        *(jnp.asarray([[position]]), jnp.arange(WIDTH)), stride=STRIDE, within=WIDTH
    )
    assert weights.shape == (1, WIDTH)
    assert jnp.sum(weights).item() == pytest.approx(total)
