"""Positions that adaptive units sample, as layers to draw."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config
from logocap_jax.methods.dekr.config import TINY
from logocap_jax.methods.dekr.spec import make_dekr
from logocap_jax.methods.dekr.stages import explain, make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.structures import View

TAPS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


@pytest.fixture(scope="module")
def found(fill):
    """An explanation, and the arrays that it is made of."""
    config = build_config("dekr", {**TINY, "num_slots": 3})
    variables = fill(jax.eval_shape(make_dekr(config).init, jax.random.key(0)))
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.integers(0, 255, (1, 64, 96, 3)), jnp.uint8)
    wanted = ("units", "centers", "kept", "valid", "outputs")

    def run(variables, image):
        view = View(image)
        arrays = run_stages(make_stages(config), variables, vars(view), wanted)
        return explain(config, variables, view), arrays

    return jax.jit(functools.partial(run))(variables, image)


def _taps(unit, x, y, branch):
    """The nine places `(x, y)` that a unit reads for a cell, in cells."""
    height, width = unit.shift.shape[1:3]
    column, row = (
        int(np.clip(np.round(place), 0, size - 1))
        for place, size in ((x, width), (y, height))
    )
    matrix = np.asarray(unit.transform[0, row, column, branch])
    shift = np.asarray(unit.shift[0, row, column, branch])
    return [
        (x + (matrix @ tap + shift)[1], y + (matrix @ tap + shift)[0]) for tap in TAPS
    ]


def test_layers_hold_what_the_units_read(found):
    explanation, arrays = found
    first, second = arrays["units"]
    assert np.any(arrays["valid"])
    for slot in np.flatnonzero(arrays["valid"][0]):
        x, y = np.asarray(arrays["centers"][0, arrays["kept"][0, slot]])
        layers = [explanation.layers[f"unit{number}"] for number in (0, 1)]
        for layer in layers:
            np.testing.assert_allclose(layer.middles[0, slot], (4 * x, 4 * y))
        for branch in (0, 5, 16):
            near = _taps(second, x, y, branch)
            np.testing.assert_allclose(
                layers[1].points[0, slot, branch], 4 * np.array(near), rtol=1e-4
            )
            far = [place for tap in near for place in _taps(first, *tap, branch)]
            np.testing.assert_allclose(
                layers[0].points[0, slot, branch], 4 * np.array(far), rtol=1e-3
            )


def test_heatmaps_lie_on_whole_pixels(found):
    explanation, _ = found
    assert explanation.layers["heatmaps"].cells == (4, 0.0)
    assert explanation.layers["centers"].values.shape == (1, 16, 24, 1)
    assert set(explanation.outputs) == {"dekr"}
