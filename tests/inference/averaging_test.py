import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference import averaging
from logocap_jax.structures import DenseMaps

SIZE = (64, 96)


@pytest.fixture(scope="module")
def image():
    values = np.random.default_rng(0).standard_normal((2, *SIZE, 3))
    return jnp.asarray(values, jnp.float32)


def _maps(heatmaps, offsets=None):
    heatmaps = jnp.asarray(heatmaps, jnp.float32)
    if offsets is None:
        offsets = jnp.zeros((*heatmaps.shape[:3], 1, 2))
    nothing = jnp.zeros((*heatmaps.shape[:3], 0))
    return DenseMaps(heatmaps, jnp.asarray(offsets), nothing)


@pytest.mark.parametrize(
    ("length", "scale", "expected"),
    [
        *[(512, 0.5, 256), (512, 1.0, 512), (512, 2.0, 1024), (96, 2, 192)],
        *[(576, 0.75, 448), (96, 0.5, 64), (64, 0.1, 32), (32, 0.5, 32)],
    ],
)
def test_a_side_becomes_the_nearest_multiple_of_32(length, scale, expected):
    assert averaging.scaled_length(length, scale) == expected


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2.0])
def test_images_are_resized_as_opencv_does(image, scale):
    scaled = averaging.scale_images(image, scale)
    height, width = (averaging.scaled_length(side, scale) for side in SIZE)
    assert scaled.image.shape == (2, height, width, 3)
    assert scaled.valid_size is None
    np.testing.assert_allclose(
        scaled.factor, [height / SIZE[0], width / SIZE[1]], rtol=1e-6
    )
    for one, found in zip(image, scaled.image, strict=True):
        resized = cv2.resize(np.asarray(one), (width, height))
        np.testing.assert_allclose(found, resized, atol=1e-4)


@pytest.mark.parametrize("scale", [0.5, 0.75, 2.0])
def test_what_lies_outside_the_valid_size_does_not_count(image, scale):
    sizes = [(64, 32), (32, 96)]
    scaled = averaging.scale_images(image, scale, jnp.asarray(sizes))
    for row, (height, width) in enumerate(sizes):
        alone = averaging.scale_images(image[row : row + 1, :height, :width], scale)
        expected = alone.image[0]
        assert tuple(np.asarray(scaled.valid_size[row])) == expected.shape[:2]
        found = scaled.image[row, : expected.shape[0], : expected.shape[1]]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_maps_of_twice_the_size_by_hand():
    """Cell c of scale 1 is at 4 c px, at scale 2 at 8 c + 0.5 px: cell 2 c + 1/8."""
    scaled = averaging.Scaled(jnp.zeros((1, 64, 64, 3)), None, jnp.asarray([2.0, 2.0]))
    columns = np.broadcast_to(np.arange(16.0)[:, None], (1, 16, 16, 1))
    offsets = np.full((1, 16, 16, 1, 2), (6.0, -4.0), np.float32)
    found = averaging.to_base(_maps(columns, offsets), scaled, (8, 8))
    np.testing.assert_allclose(
        found.heatmaps[0, 0, :, 0], [0.125 + 2 * cell for cell in range(8)]
    )
    half = np.full((8, 8, 2), (3, -2))
    np.testing.assert_array_equal(found.offsets[0, :, :, 0], half)


@pytest.mark.parametrize("scale", [0.5, 0.75, 2.0])
@pytest.mark.parametrize("sizes", [None, [(64, 64), (32, 96)]])
def test_a_cell_keeps_its_place_in_the_input(image, scale, sizes):
    """Maps that hold where their own cells are, come to hold where scale 1 has them."""
    valid_size = None if sizes is None else jnp.asarray(sizes)
    scaled = averaging.scale_images(image, scale, valid_size)
    height, width = (side // 4 for side in scaled.image.shape[1:3])
    maps = np.zeros((2, height, width, 2), np.float32)
    factors = np.broadcast_to(np.asarray(scaled.factor), (2, 2))
    for row, factor in enumerate(factors):
        maps[row, :, :, 0] = ((4 * np.arange(height) + 0.5) / factor[0] - 0.5)[:, None]
        maps[row, :, :, 1] = (4 * np.arange(width) + 0.5) / factor[1] - 0.5
    found = averaging.to_base(_maps(maps), scaled, (SIZE[0] // 4, SIZE[1] // 4))
    for row, (height, width) in enumerate(sizes or [SIZE] * 2):
        # Beyond the last cell of the scaled map its value is repeated.
        rows, columns = np.arange(2, height // 4 - 2), np.arange(2, width // 4 - 2)
        inner = np.asarray(found.heatmaps[row])[np.ix_(rows, columns)]
        expected = np.stack(np.meshgrid(4 * rows, 4 * columns, indexing="ij"), axis=-1)
        np.testing.assert_allclose(inner, expected, atol=1e-3)


def test_maps_are_averaged_and_the_embedding_is_that_of_scale_1(image):
    def predict(images, valid_size):
        # A constant for each scale: its height.
        cells = (2, images.shape[1] // 4, images.shape[2] // 4)
        value = jnp.float32(images.shape[1])
        return DenseMaps(
            jnp.full((*cells, 2), value),
            jnp.full((*cells, 1, 2), value),
            jnp.full((*cells, 3), value),
        )

    base = predict(image, None)
    found = averaging.average_scales(predict, base, image, (0.5, 1.0, 2.0))
    assert found.heatmaps.shape == (2, 16, 24, 2)
    np.testing.assert_allclose(found.heatmaps, (32 + 64 + 128) / 3, rtol=1e-6)
    # In cells of scale 1; 96 px become 64 at half the scale, the nearest multiple.
    np.testing.assert_allclose(
        found.offsets[..., 1], (32 / 0.5 + 64 + 128 / 2) / 3, rtol=1e-6
    )
    np.testing.assert_allclose(
        found.offsets[..., 0], (32 / (64 / 96) + 64 + 128 / 2) / 3, rtol=1e-6
    )
    np.testing.assert_array_equal(found.embedding, np.full((2, 16, 24, 3), 64))


def test_one_scale_leaves_maps_as_they_are(image):
    maps = _maps(np.ones((2, 16, 24, 2)))
    assert averaging.average_scales(lambda *_: maps, maps, image, (1.0,)) is maps


def test_an_input_of_any_size_is_refused_at_other_scales_in_one_line():
    (side,) = jax.export.symbolic_shape("64*n")
    with pytest.raises(ValueError, match=r"test_scales: got scale 2 .*fixed size") as e:
        averaging.scaled_length(side, 2)
    assert "\n" not in str(e.value)
