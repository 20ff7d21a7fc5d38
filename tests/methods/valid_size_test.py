"""Images that share a canvas with nothing have the poses of an input of their own."""

import jax
import numpy as np
import pytest

from logocap_jax.methods import METHODS, build_config, find_method
from logocap_jax.structures import View

SIZES = [(128, 64), (64, 96)]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def canvases(images):
    """The images in the corner of noise."""
    rng = np.random.default_rng(1)
    canvases = rng.integers(0, 255, (len(images), 128, 96, 3), dtype=np.uint8)
    for canvas, image in zip(canvases, images, strict=True):
        canvas[: image.shape[0], : image.shape[1]] = image
    return canvases


@pytest.mark.parametrize("name", METHODS)
def test_what_lies_outside_changes_nothing(name, images, canvases, fill):
    spec = find_method(name)
    config = build_config(name, spec.tiny)
    if not spec.inputs(config).shares_canvases:
        pytest.skip("takes images that fill their input")
    method = spec.make(config)
    variables = fill(jax.eval_shape(method.init, jax.random.key(0)))
    predict = jax.jit(method.predict)
    with jax.default_matmul_precision("highest"):
        found = predict(variables, View(canvases, np.array(SIZES, np.int32)))
        for row, image in enumerate(images):
            expected = predict(variables, View(image[None]))
            for set_name, others in expected.items():
                poses, valid = found[set_name], np.asarray(others.valid[0])
                assert valid.sum() > 2
                np.testing.assert_array_equal(poses.valid[row], valid)
                np.testing.assert_allclose(
                    poses.scores[row][valid], others.scores[0][valid], rtol=1e-4
                )
                expected_points = np.asarray(others.keypoints[0])[valid]
                distance = np.asarray(poses.keypoints[row])[valid] - expected_points
                # Windows outside repeat the edge of the map: their peaks tie.
                height, width = SIZES[row]
                inside = (expected_points >= 0) & (expected_points < (width, height))
                inside = inside.all(axis=-1)
                assert set_name != method.answer or inside.mean() > 0.2
                distance = np.abs(distance).max(axis=-1)[inside]
                assert np.sum(distance > 0.01) <= 0.01 * distance.size
