import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference.averaging import (
    average_mirrored,
    mirror_heatmaps,
    mirror_offsets,
)
from logocap_jax.skeletons import COCO
from logocap_jax.structures import DenseMaps

FLIP = COCO.flip_index
LEFT_EYE, RIGHT_EYE, NOSE, CENTER = 1, 2, 0, 17


@pytest.fixture
def maps():
    def draw(seed, *shape):
        values = np.random.default_rng(seed).standard_normal((2, 4, 6, *shape))
        return jnp.asarray(values, jnp.float32)

    return DenseMaps(draw(0, 18), draw(1, 17, 2), draw(2, 3))


def test_mirroring_twice_is_the_identity(maps):
    heatmaps = mirror_heatmaps(mirror_heatmaps(maps.heatmaps, FLIP), FLIP)
    offsets = mirror_offsets(mirror_offsets(maps.offsets, FLIP), FLIP)
    np.testing.assert_array_equal(heatmaps, maps.heatmaps)
    np.testing.assert_array_equal(offsets, maps.offsets)


def test_mirrored_heatmaps_swap_sides_but_not_the_middle(maps):
    mirrored = mirror_heatmaps(maps.heatmaps, FLIP)
    for here, there in [(LEFT_EYE, RIGHT_EYE), (NOSE, NOSE), (CENTER, CENTER)]:
        np.testing.assert_array_equal(
            mirrored[1, 2, 5, here], maps.heatmaps[1, 2, 0, there]
        )


def test_mirrored_offsets_point_the_other_way_in_x_only(maps):
    mirrored = mirror_offsets(maps.offsets, FLIP)
    np.testing.assert_array_equal(
        mirrored[0, 3, 1, LEFT_EYE],
        maps.offsets[0, 3, 4, RIGHT_EYE] * np.array([-1, 1]),
    )


def test_merging_averages_with_the_mirror_and_keeps_the_embedding(maps):
    other = jax.tree.map(lambda x: x + 1, maps)
    merged = average_mirrored(maps, other, FLIP)
    np.testing.assert_allclose(
        merged.heatmaps,
        (maps.heatmaps + mirror_heatmaps(other.heatmaps, FLIP)) / 2,
    )
    np.testing.assert_allclose(
        merged.offsets,
        (maps.offsets + mirror_offsets(other.offsets, FLIP)) / 2,
    )
    np.testing.assert_array_equal(merged.embedding, maps.embedding)


def test_merging_with_its_own_mirror_image_changes_nothing(maps):
    mirror = DenseMaps(
        mirror_heatmaps(maps.heatmaps, FLIP),
        mirror_offsets(maps.offsets, FLIP),
        maps.embedding,
    )
    merged = average_mirrored(maps, mirror, FLIP)
    for found, expected in zip(*map(jax.tree.leaves, (merged, maps)), strict=True):
        np.testing.assert_allclose(found, expected)
