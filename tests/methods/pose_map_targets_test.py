"""Targets of the methods with pose maps: the reference's arrays, drawn crowds, losses.

Sections are those of `../shared/siblings/dekr/spec.md`.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.feed.affine import invert_affine, mirror_affine
from data_pipeline.feed.examples import make_example
from logocap_jax.methods import targets
from logocap_jax.methods.dekr import training as dekr
from logocap_jax.methods.dekr.config import DekrConfig
from logocap_jax.methods.ranking import training as ranking
from logocap_jax.methods.ranking.config import RankingConfig
from logocap_jax.methods.ranking.network import HeadMaps
from logocap_jax.skeletons import COCO, CROWDPOSE
from logocap_jax.structures import Batch
from tests.reference import targets as reference

SIDE, PEOPLE = 96, 12
RULES = {
    "dekr": dekr.rules(DekrConfig()),
    "ranking": ranking.rules(RankingConfig()),
    "fixed": dekr.rules(DekrConfig(quirks="fixed")),
    "boxes": ranking.rules(RankingConfig(quirks="fixed", center="box")),
}
_ALL = ("heatmap_target", "heatmap_weight", "offset_target", "offset_weight")


@functools.cache
def _compiled(name, stride=4):
    @jax.jit
    def compute(example):
        heat = targets.heatmap_targets(example, RULES[name], stride=stride)
        return *heat, *targets.offset_targets(example, RULES[name])

    return compute


def _crowd(seed):
    """A photograph turned and scaled; people on few places in it, in float64.

    Some have no keypoints, some have the size of others, some lie off the map; the
    photograph's origin lies in the input.
    """
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.6)
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.column_stack([scale * np.array(turn), rng.uniform(3, 50, 2)])
    count = rng.integers(2, PEOPLE + 1)
    places = rng.uniform(0, SIDE / scale, (3, 2))[rng.integers(0, 3, count)]
    keypoints = places[:, None] + rng.uniform(-40, 40, (count, 17, 2))
    boxes = places + rng.uniform(-20, 20, (count, 2))
    return {
        "affine": affine,
        "keypoints": keypoints @ affine[:, :2].T + affine[:, 2],
        "labelled": rng.uniform(size=(count, 17))
        < rng.choice([0, 0.2, 0.9], count)[:, None],
        "has_center": rng.uniform(size=count) < 0.8,
        "size": rng.choice([200.2, 200.2, 400.3, rng.uniform(9, 999)], count),
        "middles": boxes @ affine[:, :2].T + affine[:, 2],
        "masks": {
            stride: rng.integers(0, 2, (SIDE // stride,) * 2).astype(np.uint8)
            for stride in (2, 4)
        },
    }


def _example(crowd, mirrored):
    """As the pipeline makes it: everything mirrored in pixels, in float32."""
    affine = crowd["affine"]
    points = {name: crowd[name].copy() for name in ("keypoints", "middles")}
    labelled = crowd["labelled"]
    if mirrored:
        affine = mirror_affine(affine, SIDE)
        for array in points.values():
            array[..., 0] = SIDE - 1 - array[..., 0]
        points["keypoints"] = points["keypoints"][:, COCO.flip_index]
        labelled = labelled[:, COCO.flip_index]
    half = np.full_like(points["middles"], 7.0)
    example = make_example(
        np.zeros((SIDE, SIDE, 3), np.uint8),
        masks=crowd["masks"],
        keypoints=points["keypoints"],
        labelled=labelled,
        area=np.ones(len(labelled)),
        size=crowd["size"],
        has_center=crowd["has_center"],
        box=np.concatenate(
            [points["middles"] - half, points["middles"] + half], axis=1
        ),
        max_people=PEOPLE,
        mirrored=mirrored,
        input_to_image=invert_affine(affine),
    )
    return Batch(**jax.tree.map(jnp.asarray, example))


def _expected(crowd, mirrored, *, rules, stride=4):
    """The plain loops of sections 9 and 14, in float64 and in cells."""
    cells = SIDE // stride

    def to_cells(points):
        points = points / stride
        if mirrored:
            points = np.stack([cells - 1 - points[..., 0], points[..., 1]], axis=-1)
        return points

    keypoints, labelled = to_cells(crowd["keypoints"]), crowd["labelled"]
    middles = to_cells(crowd["middles"])
    if rules.center_at_origin:
        middles = np.broadcast_to(to_cells(crowd["affine"][:, 2]), middles.shape)
    if mirrored:
        keypoints, labelled = (
            keypoints[:, COCO.flip_index],
            labelled[:, COCO.flip_index],
        )
    used = labelled & (not rules.center_of_box)
    centers = reference.centers(keypoints, used, middles)
    points = np.concatenate([keypoints, centers[:, None]], axis=1)
    exists = np.concatenate([labelled, crowd["has_center"][:, None]], axis=1)
    heat, weight = reference.heatmaps(
        *(points, exists, cells, cells, (2.0,) * 17 + (4.0,), rules.background_weight)
    )
    if not rules.weight_per_kind:
        weight = weight.max(axis=-1, keepdims=True)
    off = reference.offsets(
        *(keypoints, labelled, centers, crowd["has_center"], crowd["size"]),
        *(cells, cells, 4),
    )
    return heat, weight * crowd["masks"][stride][..., None], *off


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", RULES)
def test_targets_of_drawn_crowds_are_those_of_the_loop(name, seed, mirrored):
    crowd = _crowd(seed)
    found = _compiled(name)(_example(crowd, mirrored))
    expected = _expected(crowd, mirrored, rules=RULES[name])
    for array, loop, key in zip(found, expected, _ALL, strict=True):
        np.testing.assert_allclose(array, loop, atol=3e-5, err_msg=key)


@pytest.mark.parametrize("mirrored", [False, True])
def test_heatmaps_at_stride_2_have_points_and_mask_of_that_stride(mirrored):
    crowd, rules = _crowd(1), RULES["ranking"]
    found = _compiled("ranking", stride=2)(_example(crowd, mirrored))
    expected = _expected(crowd, mirrored, rules=rules, stride=2)
    for array, loop in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(array, loop, atol=3e-5)


def test_drawn_crowds_hold_what_the_rules_are_about():
    crowds = [_crowd(seed) for seed in range(5)]
    alone = [crowd["has_center"] & ~crowd["labelled"].any(axis=1) for crowd in crowds]
    assert sum(map(np.sum, alone)) > 3
    assert all(0 < side < SIDE for crowd in crowds for side in crowd["affine"][:, 2])
    assert sum(len(set(crowd["size"])) < len(crowd["size"]) for crowd in crowds) >= 3


@pytest.mark.parity
@pytest.mark.parametrize("name", ["dekr", "ranking"])
class TestReference:
    @pytest.fixture
    def arrays(self, name, shared_dir):
        with np.load(shared_dir / f"siblings/dekr/{name}/tiny/train.npz") as file:
            names = [key for key in file.files if not key.startswith(("grad/", "bn1/"))]
            return {key: file[key] for key in names}

    @pytest.fixture
    def made(self, name, arrays):
        """Targets and weights, channels first, from what lies in the photographs."""
        compute = _compiled(name)
        images = [compute(_photographed(arrays, i)) for i in range(4)]
        stacked = [np.stack(parts) for parts in zip(*images, strict=True)]
        stacked[2] = stacked[2].reshape(*stacked[2].shape[:3], -1)
        stacked[3] = stacked[3].repeat(2, axis=-1)
        return {
            key: np.moveaxis(array, -1, 1)
            for key, array in zip(_ALL, stacked, strict=True)
        }

    def test_targets_are_the_references(self, made, arrays):
        for key, array in made.items():
            np.testing.assert_allclose(array, arrays[key], rtol=1e-6, atol=2e-6)
            np.testing.assert_array_equal(array == 0, arrays[key] == 0, err_msg=key)

    def test_sizes_in_float32_alone_would_give_other_offsets(self, name, arrays):
        examples = [_photographed(arrays, i) for i in range(4)]
        rounded = [
            dataclasses.replace(one, size=one.size.at[:, 1].set(0)) for one in examples
        ]
        changed = [
            np.any(_compiled(name)(a)[2] != _compiled(name)(b)[2], axis=-1).sum()
            for a, b in zip(examples, rounded, strict=True)
        ]
        assert sum(changed) == {"dekr": 168, "ranking": 76}[name]

    def test_losses_from_the_outputs_are_the_references(self, name, made, arrays):
        def last(array):
            return jnp.moveaxis(jnp.asarray(array), 1, -1)

        def pairs(array):
            return last(array).reshape(*last(array).shape[:3], -1, 2)

        heat = targets.heatmap_loss(
            *(last(arrays["heatmaps"]), last(made["heatmap_target"])),
            last(made["heatmap_weight"]),
        )
        off = targets.offset_loss(
            *(pairs(arrays["offsets"]), pairs(made["offset_target"])),
            pairs(made["offset_weight"])[..., 0],
            beta=1 / 9,
        )
        weight = RULES[name].offset_loss_weight
        np.testing.assert_allclose([heat, weight * off], arrays["losses"][0], rtol=1e-6)


def _photographed(arrays, i):
    """The example of an image of the case, from its people in the photograph."""
    joints, affine = arrays[f"joints_image_{i}"], arrays[f"transform_input_{i}"]
    size = arrays["input"].shape[-1]
    points = joints[..., :2] @ affine[:, :2].T + affine[:, 2]
    labelled = joints[..., 2] > 0
    mirrored = bool(arrays[f"hflip_{i}"])
    if mirrored:
        affine = mirror_affine(affine, size)
        points[..., 0] = size - 1 - points[..., 0]
        order = [*COCO.flip_index, 17]
        points, labelled = points[:, order], labelled[:, order]
    example = make_example(
        np.zeros((size, size, 3), np.uint8),
        masks={4: arrays[f"mask_{i}"]},
        keypoints=points[:, :-1],
        labelled=labelled[:, :-1],
        area=np.ones(len(points)),
        size=arrays[f"area_image_{i}"][:, 0] * arrays[f"area_scale_{i}"],
        has_center=labelled[:, -1],
        box=np.concatenate([points[:, -1], points[:, -1]], axis=1),
        max_people=30,
        mirrored=mirrored,
        input_to_image=invert_affine(affine),
    )
    return Batch(**jax.tree.map(jnp.asarray, example))


@pytest.mark.parametrize(("quirks", "center"), [("reference", 2.0), ("fixed", 4.0)])
def test_centers_of_fewer_keypoints_than_cocos_are_narrow(quirks, center):
    for module, config in ((dekr, DekrConfig), (ranking, RankingConfig)):
        settings = config(skeleton=CROWDPOSE, quirks=quirks)
        assert module.rules(settings).sigmas == (2.0,) * 14 + (center,)
        assert module.rules(config(quirks=quirks)).sigmas == (2.0,) * 17 + (4.0,)


def test_people_are_measured_as_each_method_measures_them():
    assert dekr.person_size(DekrConfig()) == "origin"
    assert dekr.person_size(DekrConfig(quirks="fixed")) == "extent"


def test_heatmaps_of_several_branches_are_averaged_in_the_loss():
    batch = jax.tree.map(lambda leaf: leaf[None], _example(_crowd(0), False))
    rng = np.random.default_rng(0)
    cells = (1, SIDE // 4, SIDE // 4)
    heatmaps = jnp.asarray(rng.normal(size=(3, *cells, 18)), jnp.float32)
    offsets = jnp.asarray(rng.normal(size=(*cells, 17, 2)), jnp.float32)
    rules = RULES["ranking"]
    losses = jax.jit(lambda maps: targets.map_losses(maps, offsets, batch, rules))
    found, each = losses(heatmaps), [losses(heatmaps[i]) for i in range(3)]
    mean = np.mean([terms["heatmap"] for terms in each])
    np.testing.assert_allclose(found["heatmap"], mean, rtol=1e-6)
    assert found["offset"] == each[0]["offset"]


def test_fine_heatmaps_add_the_loss_of_their_own_stride(monkeypatch):
    """Zero maps: the losses are the weighted mean squares of the targets."""
    crowd = _crowd(1)
    batch = jax.tree.map(lambda leaf: leaf[None], _example(crowd, False))
    config = dataclasses.replace(RankingConfig(), fine_hidden=8)
    cells = (1, SIDE // 4, SIDE // 4)
    maps = HeadMaps(
        heatmaps=jnp.zeros((3, *cells, 17)),
        centers=jnp.zeros((*cells, 1)),
        offsets=jnp.zeros((*cells, 17, 2)),
        fine=jnp.zeros((1, SIDE // 2, SIDE // 2, 17)),
        heatmap_input=jnp.zeros((*cells, 1)),
        offset_input=jnp.zeros((*cells, 1)),
        heatmap_blocks=(),
        offset_block=None,
    )
    monkeypatch.setattr(ranking, "train_maps", lambda *_: (maps, {}))
    output = ranking.loss(config, {"batch_stats": {}}, batch, jax.random.key(0))
    rules = ranking.rules(config)
    heat, weight, *_ = _expected(crowd, False, rules=rules)
    fine_rules = rules._replace(background_weight=0.025)
    fine, fine_weight, *_ = _expected(crowd, False, rules=fine_rules, stride=2)
    expected = [np.mean(heat**2 * weight), np.mean(fine[..., :17] ** 2 * fine_weight)]
    found = [output.terms["heatmap"], output.terms["fine"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    total = math.fsum(map(float, output.terms.values()))
    assert float(output.loss) == pytest.approx(total, rel=1e-6)
