"""What candidate poses are made from."""

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.candidates import cells_at_one, largest_value, point_layers
from logocap_jax.methods.pose_map import PoseMapConfig

TAPS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def _around(point, transform, shift):
    """The nine places `(x, y)` that a unit reads around a point."""
    height, width = transform.shape[:2]
    x, y = (
        int(min(max(np.round(value), 0), size - 1))
        for value, size in zip(point, (width, height), strict=True)
    )
    places = []
    for tap in TAPS:
        dy, dx = transform[y, x] @ tap + shift[y, x]
        places.append((point[0] + dx, point[1] + dy))
    return places


@pytest.mark.parametrize("groups", [1, 3])
def test_units_read_around_what_the_next_one_reads(groups):
    rng = np.random.default_rng(0)
    units = {
        name: (
            jnp.asarray(rng.normal(0, 1.5, (1, 6, 8, groups, 2, 2)), jnp.float32),
            jnp.asarray(rng.normal(0, 1, (1, 6, 8, groups, 2)), jnp.float32),
        )
        for name in ("first", "second")
    }
    cells = jnp.array([[[3.0, 2.0], [7.0, 5.0]]])
    layers = point_layers(units, cells, 3)
    np.testing.assert_array_equal(layers["first"].middles, 4 * cells)
    for slot, keypoint in np.ndindex(2, 3):
        points = [tuple(cells[0, slot].tolist())]
        for name in ("second", "first"):
            maps = [np.asarray(x[0, :, :, keypoint % groups]) for x in units[name]]
            points = [place for point in points for place in _around(point, *maps)]
            found = layers[name].points[0, slot, keypoint]
            np.testing.assert_allclose(found, 4 * np.array(points), atol=1e-3)


def test_cells_of_other_scales_are_brought_to_scale_1():
    config = PoseMapConfig(num_slots=2, test_scales=(0.5, 1.0, 2.0))
    centers = jnp.array([[[8, 6], [4, 2], [3, 5], [1, 1], [2, 1], [0, 3]]], jnp.float32)
    kept = jnp.array([[0, 3, 5]])
    found = cells_at_one(config, centers, kept)
    assert found[0].tolist() == [[4, 3], [1, 1], [0, 6]]


def test_the_largest_value_is_the_images_and_1_where_nothing_is_above_0():
    values = jnp.array([[0.2, 0.5, 3], [0.1, 0.4, 2]])
    assert largest_value(values) == 3
    assert largest_value(values, jnp.array([2, 2])) == 0.5
    assert largest_value(-values) == 1
