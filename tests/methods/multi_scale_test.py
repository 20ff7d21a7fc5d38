"""The multi-scale test against single scales, averaged by hand."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference import averaging
from logocap_jax.methods import initial_poses
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.hrnet import HRNetConfig
from logocap_jax.skeletons import COCO
from logocap_jax.structures import DenseMaps
from tests import programs

SCALES = (0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def network(smallest):
    return _config(smallest).network(embedding=2)


@pytest.fixture(scope="module")
def variables(network, fill):
    image = jnp.zeros((1, 64, 64, 3))
    return fill(
        jax.eval_shape(lambda: network.init(jax.random.key(0), image, train=False))
    )


@pytest.fixture(scope="module")
def image():
    values = np.random.default_rng(0).standard_normal((1, 64, 128, 3))
    return values.astype(np.float32)


def _config(smallest, **changes):
    sizes = {"heatmap_hidden": 4, "offset_hidden": 4}
    backbone = HRNetConfig(**smallest | {"modules": (1, 0, 0)})
    return InitialPosesConfig(backbone=backbone, **sizes, **changes)


def _predict(network, variables, image, config, valid_size=None):
    predict = jax.jit(
        lambda variables, image, valid_size: run_stages(
            initial_poses.dense_stages(network, config),
            {collection: {"dense": tree} for collection, tree in variables.items()},
            {"input": image, "valid_size": valid_size},
            initial_poses.MAPS,
        ),
        compiler_options=programs.fused(),
    )
    return DenseMaps(**predict(variables, image, valid_size))


@pytest.mark.parametrize("flip_test", [True, False])
def test_one_scale_has_the_bits_of_the_network_and_the_flip_test(
    network, variables, image, smallest, flip_test
):
    """Written out as it was before there were scales."""

    @functools.partial(jax.jit, compiler_options=programs.fused())
    def by_hand(variables, image):
        if not flip_test:
            return DenseMaps(
                *network.apply(variables, image, train=False, valid_size=None)
            )
        both = jnp.concatenate([image, averaging.mirror(image)])
        maps = DenseMaps(*network.apply(variables, both, train=False, valid_size=None))
        halves = [jax.tree.map(lambda x, n=n: x[n : n + 1], maps) for n in (0, 1)]
        return averaging.average_mirrored(*halves, COCO.flip_index)

    config = _config(smallest, flip_test=flip_test)
    found = _predict(network, variables, image, config)
    expected = by_hand(variables, image)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def _at_base(maps, scale, size):
    """Loops over the cells of scale 1; each reads where it is at the other scale."""
    height, width = size
    found = np.zeros((height, width, *maps.shape[2:]))
    for y in range(height):
        for x in range(width):
            place = [(scale * (4 * cell + 0.5) - 0.5) / 4 for cell in (y, x)]
            last = (maps.shape[0] - 1, maps.shape[1] - 1)
            place = np.clip(place, 0, last)
            (y0, x0), (dy, dx) = np.floor(place).astype(int), np.mod(place, 1)
            y1, x1 = min(y0 + 1, maps.shape[0] - 1), min(x0 + 1, maps.shape[1] - 1)
            found[y, x] = (1 - dy) * ((1 - dx) * maps[y0, x0] + dx * maps[y0, x1])
            found[y, x] += dy * ((1 - dx) * maps[y1, x0] + dx * maps[y1, x1])
    return found


def test_scales_are_averaged_as_by_hand(network, variables, image, smallest):
    one_scale = _config(smallest)
    heatmaps, offsets = [], []
    for scale in SCALES:
        size = (int(128 * scale), int(64 * scale))
        resized = cv2.resize(image[0], size)[None]
        maps = _predict(network, variables, resized, one_scale)
        heatmaps.append(_at_base(np.asarray(maps.heatmaps[0]), scale, (16, 32)))
        offsets.append(_at_base(np.asarray(maps.offsets[0]), scale, (16, 32)) / scale)
    config = _config(smallest, test_scales=SCALES)
    found = _predict(network, variables, image, config)
    for array, parts in ((found.heatmaps, heatmaps), (found.offsets, offsets)):
        expected = np.mean(parts, axis=0)
        error = np.abs(array[0] - expected).max()
        assert error < 1e-4 * np.abs(expected).max()
    at_one = _predict(network, variables, image, one_scale)
    np.testing.assert_allclose(found.embedding, at_one.embedding, rtol=1e-4, atol=1e-5)


def test_what_lies_outside_the_valid_size_changes_nothing_at_any_scale(
    network, variables, image, smallest
):
    """Sides of 96 px become 64 at half the scale, the nearest multiple of 32."""
    config = _config(smallest, test_scales=(0.5, 1.0))
    canvases = np.concatenate([image, 1 - image])
    valid_size = jnp.asarray([(32, 128), (64, 96)])
    found = _predict(network, variables, canvases, config, valid_size)
    expected = _predict(network, variables, canvases[1:, :64, :96], config)
    for one, other in (
        (found.heatmaps, expected.heatmaps),
        (found.offsets, expected.offsets),
    ):
        scale = np.abs(np.asarray(other)).max()
        np.testing.assert_allclose(one[1, :16, :24], other[0], atol=1e-4 * scale)
