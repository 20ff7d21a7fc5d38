import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import geometry
from tests.reference import sampling


def test_points_are_divided_by_the_stride_without_a_half_pixel():
    points = jnp.asarray([[0.0, 0.0], [10.0, 7.0], [-4.0, 255.0]])
    cells = geometry.input_to_cell(points, jnp.asarray(False))
    np.testing.assert_array_equal(cells, [[0, 0], [2.5, 1.75], [-1, 63.75]])
    np.testing.assert_array_equal(geometry.cell_to_input(cells), points)


def test_labels_of_a_mirrored_image_are_mirrored_in_cells():
    width = 64
    points = np.random.default_rng(0).uniform(0, width, (5, 17, 2)).astype(np.float32)
    in_mirrored_image = points * [-1, 1] + [width - 1, 0]
    mirrored_in_cells = points / 4 * [-1, 1] + [width // 4 - 1, 0]
    cells = geometry.input_to_cell(
        jnp.asarray(in_mirrored_image, jnp.float32), jnp.asarray(True)
    )
    np.testing.assert_allclose(cells, mirrored_in_cells, atol=1e-5)


def test_upsampling_has_half_pixel_centers():
    maps = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
    upsampled = geometry.upsample_to_input(jnp.asarray(maps))
    for channel in range(2):
        expected = sampling.resize_half_pixel(maps[..., channel], 4)
        np.testing.assert_allclose(upsampled[..., channel], expected, atol=1e-6)


def test_cell_lies_one_and_a_half_pixels_beyond_its_point():
    ramp = jnp.tile(jnp.arange(8.0)[None, :, None], (2, 1, 1))
    upsampled = geometry.upsample_to_input(ramp)[0, :, 0]
    between = (upsampled[5] + upsampled[6]) / 2  # around pixel 5.5 = 4 * 1 + 1.5
    np.testing.assert_allclose(between, 1, atol=1e-6)


@pytest.mark.parametrize("middle", [0.0, 1.5, 2.25])
@pytest.mark.parametrize("stride", [2, 4])
def test_cells_lie_where_their_rule_says(stride, middle):
    cells = geometry.CellRule(stride, middle)
    ramp = jnp.tile(jnp.arange(8.0)[None, :, None], (2, 1, 1))
    upsampled = geometry.upsample_to_input(ramp, cells=cells)[0, :, 0]
    expected = np.clip((np.arange(8 * stride) - middle) / stride, 0, 7)
    np.testing.assert_allclose(upsampled, expected, atol=1e-6)
    part = geometry.upsample_to_input(ramp, jnp.asarray([2, 5]) * stride, cells=cells)
    np.testing.assert_allclose(part[0, :, 0], np.minimum(expected, 4), atol=1e-6)


def test_the_rule_of_half_pixels_is_that_of_resizing():
    maps = jnp.asarray(np.random.default_rng(0).standard_normal((3, 5, 2)), jnp.float32)
    whole = jnp.asarray([12, 20])
    np.testing.assert_allclose(
        geometry.upsample_to_input(maps, whole, cells=geometry.CellRule(4, 1.5)),
        geometry.upsample_to_input(maps),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0, 0), True),
        ((6.999, 4.999), True),
        ((7, 0), False),
        ((0, 5), False),
        ((5, 6), False),
        ((-1e-3, 2), False),
        ((2, -1e-3), False),
    ],
)
def test_a_map_holds_its_first_edges_but_not_its_last(point, expected):
    point = jnp.asarray(point, jnp.float32)
    assert bool(geometry.contains(point, height=5, width=7)) is expected


def test_grid_holds_x_then_y():
    grid = geometry.grid(2, 3)
    np.testing.assert_array_equal(grid[1, 2], [2, 1])
    assert grid.shape == (2, 3, 2)


def test_frames_work_under_jit_and_vmap():
    points = jnp.ones((2, 3, 2))
    mirrored = jnp.asarray([False, True])
    cells = jax.jit(jax.vmap(geometry.input_to_cell))(points, mirrored)
    np.testing.assert_array_equal(cells[:, 0], [[0.25, 0.25], [-0.5, 0.25]])
