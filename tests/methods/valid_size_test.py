"""Images that share a canvas with nothing have the poses of an input of their own."""

import jax
import numpy as np
import pytest

from logocap_jax.methods import build_method
from logocap_jax.structures import View
from tests.parity.own_case_test import TINY, random_variables

SIZES = [(128, 64), (64, 96)]
SHARED = {name: TINY[name] for name in ("backbone", "heatmap_hidden", "offset_hidden")}
SETTINGS = {"logocap": TINY | {"window_radius": 12}, "center_offset": SHARED}


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


@pytest.mark.parametrize(
    ("name", "flip_test"), [("logocap", True), ("center_offset", False)]
)
def test_what_lies_outside_changes_nothing(name, flip_test, images, canvases):
    method = build_method(name, SETTINGS[name] | {"flip_test": flip_test})
    variables = random_variables(SETTINGS[name], name)
    # Heatmaps around 1: below 0 there are no poses.
    output = variables["params"]["dense"]["heatmap_head"]["output"]
    output["kernel"] *= 1e-3
    output["bias"] += 1
    predict = jax.jit(method.predict)
    with jax.default_matmul_precision("highest"):
        found = predict(variables, View(canvases, np.array(SIZES, np.int32)))
        for row, image in enumerate(images):
            expected = predict(variables, View(image[None]))
            for poses, others in zip(found.values(), expected.values(), strict=True):
                valid = np.asarray(others.valid[0])
                assert valid.sum() > 2
                np.testing.assert_array_equal(poses.valid[row], valid)
                np.testing.assert_allclose(
                    poses.scores[row][valid], others.scores[0][valid], rtol=1e-4
                )
                distance = poses.keypoints[row] - others.keypoints[0]
                distance = np.abs(np.asarray(distance)).max(axis=-1)[valid]
                assert np.mean(distance > 0.01) < 0.01
