"""Adjustment, refinement and maps against plain NumPy, and the reference's arrays."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config
from logocap_jax.methods.higherhrnet.config import TINY, HigherHRNetConfig
from logocap_jax.methods.higherhrnet.spec import make_higherhrnet
from logocap_jax.methods.higherhrnet.stages import (
    explain,
    make_stages,
    quarter_shift,
    tag_colors,
)
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO, CROWDPOSE, Skeleton
from logocap_jax.structures import View

SKELETON = Skeleton("four", ("a", "left_b", "right_b", "c"), (0.05,) * 4, ((0, 1),))
HEIGHT, WIDTH = 12, 16
WANTED = ("keypoints", "joint_values", "person_scores", "refined", "valid", "outputs")


def _config(**changes):
    sizes = {"num_candidates": 5, "joints_per_step": 3}
    return HigherHRNetConfig(skeleton=SKELETON, **sizes | changes)


@functools.partial(jax.jit, static_argnames=("config", "wanted"))
def _run(half, half_tags, sizes, config, wanted=WANTED):
    given = {"half": half, "half_tags": half_tags, "valid_size": sizes}
    return run_stages(make_stages(config), {}, given, wanted)


def _upsample(maps):
    """Bilinear, half-pixel centres: `[h, w, ...]` to twice the size."""
    for axis in (0, 1):
        size = maps.shape[axis]
        place = np.clip((np.arange(2 * size) + 0.5) / 2 - 0.5, 0, None)
        lower = np.floor(place).astype(int)
        upper = np.minimum(lower + 1, size - 1)
        share = (place - lower).reshape(-1, *[1] * (maps.ndim - axis - 1))
        near, far = (np.take(maps, index, axis=axis) for index in (lower, upper))
        maps = near * (1 - share) + far * share
    return maps


def _shifted(heatmap, x, y):
    height, width = heatmap.shape
    down = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    return x + (0.75 if right else 0.25), y + (0.75 if down else 0.25)


def _drawn(seed, components=2):
    rng = np.random.default_rng(seed)
    half = rng.uniform(-0.2, 1, (1, HEIGHT, WIDTH, 4)).astype(np.float32)
    tags = rng.normal(0, 1.5, (1, HEIGHT, WIDTH, 4, components)).astype(np.float32)
    return half, tags


@pytest.mark.parametrize("seed", range(4))
def test_missing_joints_are_found_over_all_pixels(seed):
    half, half_tags = _drawn(seed, 1 + seed % 2)
    config = _config(flip_test=bool(seed % 2))
    found = jax.device_get(_run(half, half_tags, None, config))
    heat, tags = _upsample(half[0]), _upsample(half_tags[0])
    filled = 0
    for person in np.flatnonzero(found["valid"][0]):
        joints, values = found["keypoints"][0, person], found["joint_values"][0, person]
        score = found["person_scores"][0, person]
        assert score == pytest.approx(values.mean(), rel=1e-6)
        own = [
            tags[int(y), int(x), kind]
            for kind, (x, y) in enumerate(joints)
            if values[kind] > 0
        ]
        for kind in np.flatnonzero(values == 0):
            distance = np.linalg.norm(tags[:, :, kind] - np.mean(own, axis=0), axis=-1)
            best = np.argmax(heat[..., kind] - np.round(distance))
            y, x = divmod(int(best), heat.shape[1])
            expected = _shifted(heat[..., kind], x, y) if heat[y, x, kind] > 0 else 0
            np.testing.assert_allclose(found["refined"][0, person, kind], expected)
            filled += 1
    assert filled > 5


def test_refinement_can_be_left_out():
    found = _run(*_drawn(0), None, _config(refine=False))
    np.testing.assert_array_equal(found["refined"], found["keypoints"])
    scores = found["outputs"]["higherhrnet"].keypoint_scores
    np.testing.assert_array_equal(scores > 0, found["joint_values"] > 0)


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [((2, 1), (2.75, 1.25)), ((0, 0), (0.75, 0.25)), ((4, 3), (4.75, 3.75))],
)
def test_quarter_of_a_pixel_goes_to_the_higher_neighbours(pixel, expected):
    """At a border the pixel is its own neighbour; of equal ones the lower wins."""
    plane = np.zeros((4, 5), np.float32)
    plane[1, 3] = plane[0, 1] = plane[3, 4] = 1
    found = quarter_shift(jnp.asarray(plane), jnp.array(pixel, jnp.int32))
    np.testing.assert_array_equal(found, expected)


def test_nobody_is_found_where_no_candidate_is():
    half, tags = _drawn(0)
    found = _run(0.05 * half, tags, None, _config())
    assert not np.any(found["valid"])
    assert not np.any(found["outputs"]["higherhrnet"].valid)


def test_the_order_of_types_is_the_releases():
    order = HigherHRNetConfig(skeleton=COCO).order
    assert sorted(order) == list(range(COCO.num_keypoints))
    assert order[7:9] == (11, 12)
    assert HigherHRNetConfig(skeleton=CROWDPOSE).order == tuple(range(14))


@pytest.fixture(scope="module")
def tiny(fill):
    config = build_config("higherhrnet", TINY | {"center": True})
    method = make_higherhrnet(config)
    return config, method, fill(jax.eval_shape(method.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 255, (1, 64, 128, 3)), jnp.uint8)


@pytest.fixture(scope="module")
def explained(tiny, image):
    config, _, variables = tiny
    wanted = ("half", "half_tags", "coarse_raw", "tags_raw", "fine_raw", "heatmaps")

    def run(variables, image):
        arrays = run_stages(make_stages(config), variables, vars(View(image)), wanted)
        return explain(config, variables, View(image)), arrays

    return jax.device_get(jax.jit(run)(variables, image))


def test_maps_are_the_means_of_outputs_and_of_mirror_images(explained):
    _, arrays = explained
    index = [*COCO.flip_index, 17]
    both = []
    for row, is_mirrored in ((0, False), (1, True)):
        coarse, tags, fine = (
            arrays[name][row] for name in ("coarse_raw", "tags_raw", "fine_raw")
        )
        pair = [(_upsample(coarse) + fine) / 2, _upsample(tags)]
        both.append([x[:, ::-1, index] if is_mirrored else x for x in pair])
    heat = (both[0][0] + both[1][0]) / 2
    tags = np.stack([both[0][1], both[1][1]], axis=-1)
    np.testing.assert_allclose(arrays["half"][0], heat, *(1e-5, 1e-5))
    np.testing.assert_allclose(arrays["half_tags"][0], tags, *(1e-5, 1e-5))
    np.testing.assert_allclose(arrays["heatmaps"][0], _upsample(heat), *(1e-5, 1e-5))


def test_the_mirror_image_finds_the_mirrored_heatmaps(tiny, image):
    config, _, variables = tiny

    @jax.jit
    def heatmaps(variables, image):
        given = vars(View(image))
        return run_stages(make_stages(config), variables, given, ("heatmaps",))

    found, other = (
        heatmaps(variables, x)["heatmaps"] for x in (image, image[:, :, ::-1])
    )
    expected = np.asarray(found)[:, :, ::-1, [*COCO.flip_index, 17]]
    np.testing.assert_allclose(other, expected, *(1e-4, 1e-4))


def test_layers_show_heatmaps_tags_and_centers(explained):
    explanation, arrays = explained
    assert set(explanation.layers) == {"heatmaps", "tags", "centers"}
    layer = explanation.layers["tags"]
    assert layer.cells == (2, 0.5)
    assert layer.values.shape == (1, 32, 64, len(layer.names))
    np.testing.assert_array_equal(
        explanation.layers["centers"].values, arrays["half"][..., 17:]
    )


def test_colors_of_tags_go_round():
    heat = jnp.array([[0.5, 0.2], [0.4, 0.0]])
    tags = jnp.array([[-1.0, 2.0], [9.25, 3.0]])
    found = tag_colors(heat, tags)
    expected = np.zeros((2, 8))
    expected[0, 7], expected[0, 2] = 0.5, 0.2
    expected[1, 1], expected[1, 2] = 0.3, 0.1
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("scales", [(1.0, 2.0), (0.5, 1.0)])
def test_heatmaps_of_scales_are_averaged_at_the_size_of_scale_1(scales):
    """Drawn maps; at scale 2 they have the size of the input."""
    config = dataclasses.replace(_config(), test_scales=scales)
    (scale,) = config.other_scales
    rng = np.random.default_rng(0)
    half = rng.uniform(size=(1, 8, 12, 4)).astype(np.float32)
    side = int(8 * scale), int(12 * scale)
    other = rng.uniform(size=(1, *side, 4)).astype(np.float32)
    given = {"half": half, "scaled_half": (other,), "valid_size": None}
    found = jax.jit(
        lambda given: run_stages(make_stages(config), {}, given, ("heatmaps",))
    )(given)["heatmaps"]
    brought = (
        other[0] if scale == 2 else jax.image.resize(other[0], (16, 24, 4), "linear")
    )
    expected = (_upsample(half[0]) + np.asarray(brought)) / 2
    np.testing.assert_allclose(found[0], expected, *(1e-5, 1e-5))


def test_images_on_shared_canvases_have_their_own_maps_at_all_scales(tiny):
    config, _, variables = tiny
    config = dataclasses.replace(config, test_scales=(0.5, 1.0))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1, 128, 64, 3), np.uint8)
    scaled = rng.integers(0, 255, (1, 64, 32, 3), np.uint8)

    def held(x, size):  # in the corner of noise
        canvas = rng.integers(0, 255, (1, *size, 3), np.uint8)
        canvas[:, : x.shape[1], : x.shape[2]] = x
        return canvas

    size = np.array([[128, 64]], np.int32)
    canvas = View(held(image, (128, 192)), size, None, (held(scaled, (64, 96)),))
    alone = View(image, None, None, (scaled,))

    @jax.jit
    def run(variables, view):
        wanted = ("heatmaps", "tag_planes")
        return run_stages(make_stages(config), variables, vars(view), wanted)

    with jax.default_matmul_precision("highest"):
        found, expected = run(variables, canvas), run(variables, alone)
    np.testing.assert_allclose(
        found["heatmaps"][:, :, :64], expected["heatmaps"], *(1e-4, 1e-4)
    )
    np.testing.assert_allclose(
        found["tag_planes"][..., :64], expected["tag_planes"], *(1e-4, 1e-4)
    )
