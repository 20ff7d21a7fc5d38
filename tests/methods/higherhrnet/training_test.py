"""Targets and losses of tags against plain loops, and by hand."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config
from logocap_jax.methods.higher_targets import (
    cells_at,
    heatmap_target,
    points_at,
    strided_loss,
)
from logocap_jax.methods.higherhrnet.config import TINY, HigherHRNetConfig
from logocap_jax.methods.higherhrnet.spec import make_higherhrnet
from logocap_jax.methods.higherhrnet.training import tag_losses
from logocap_jax.skeletons import Skeleton

SKELETON = Skeleton("three", ("a", "left_b", "right_b"), (0.05,) * 3, ((0, 1),))
SIZE = 64


def _example(batch, keypoints, labelled, *, mirrored=False):
    """The first image of the batch with other people."""
    one = jax.tree.map(lambda x: x[0], batch)
    people = len(keypoints)
    return dataclasses.replace(
        one,
        keypoints=jnp.asarray(keypoints, jnp.float32),
        labelled=jnp.asarray(labelled),
        person=jnp.asarray(np.any(labelled, axis=1)),
        mirrored=jnp.asarray(mirrored),
        area=jnp.ones(people),
        size=jnp.ones((people, 2)),
        has_center=jnp.ones(people, bool),
        box=jnp.zeros((people, 4)),
    )


def _drawn(batch, seed, **options):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(-12, SIZE + 12, (5, 3, 2))
    keypoints[0] = [(-0.5, 20), (-3.9, -1), (-4.1, 9)]  # 0 by truncation, but the last
    labelled = rng.random((5, 3)) < 0.7
    labelled[0], labelled[1] = True, False
    return _example(batch, keypoints, labelled, **options)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _targets(example, config, stride):
    return (
        points_at(example, config, stride),
        cells_at(example, config, stride),
        heatmap_target(example, config, stride),
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("center", [False, True])
def test_targets_are_those_of_plain_loops(batch, center, stride, mirrored):
    config = HigherHRNetConfig(skeleton=SKELETON, center=center)
    example = _drawn(batch, 3 * stride + mirrored, mirrored=mirrored)
    (points, exists), (cells, on_map), target = jax.device_get(
        _targets(example, config, stride)
    )
    side = SIZE // stride
    expected = np.zeros((side, side, 3 + center))
    for person in range(5):
        labelled = np.asarray(example.labelled[person])
        joints = np.asarray(example.keypoints[person]) / stride
        if mirrored:  # in cells of its own, `o - 1 - x`
            joints[:, 0] = side - 1 - (SIZE - 1 - stride * joints[:, 0]) / stride
        shown = list(zip(joints, labelled, strict=True))
        if center:
            inside = [
                point
                for point, is_labelled in shown
                if is_labelled and ((point >= 0) & (point < side)).all()
            ]
            shown.append((np.mean(inside, axis=0) if inside else None, bool(inside)))
        for kind, (point, is_there) in enumerate(shown):
            assert exists[person, kind] == is_there
            if not is_there:
                assert not on_map[person, kind]
                continue
            np.testing.assert_allclose(points[person, kind], point, rtol=1e-4)
            x, y = int(point[0]), int(point[1])
            counts = 0 <= x < side and 0 <= y < side
            assert on_map[person, kind] == counts
            if not counts:
                continue
            assert cells[person, kind].tolist() == [x, y]
            for i in range(max(y - 7, 0), min(y + 8, side)):
                for j in range(max(x - 7, 0), min(x + 8, side)):
                    value = math.exp(-((i - y) ** 2 + (j - x) ** 2) / 8)
                    expected[i, j, kind] = max(expected[i, j, kind], value)
    np.testing.assert_allclose(target, expected, atol=1e-6)
    assert expected.max() == 1


def _plain_tag_losses(tags, cells, exists):
    means, pull = [], 0.0
    for places, there in zip(cells, exists, strict=True):
        values = [tags[y, x, kind] for kind, (x, y) in enumerate(places) if there[kind]]
        if values:
            means.append(np.mean(values))
            pull += np.mean((np.array(values) - means[-1]) ** 2)
    count = len(means)
    if count == 0:
        return 0.0, 0.0
    push = sum(
        math.exp(-((a - b) ** 2))
        for i, a in enumerate(means)
        for j, b in enumerate(means)
        if i != j
    )
    return (0.5 * push / (count * (count - 1)) if count > 1 else 0.0), pull / count


@pytest.mark.parametrize("people", range(5))
def test_tag_losses_are_those_of_plain_loops(people):
    rng = np.random.default_rng(people)
    tags = rng.normal(0, 1, (6, 7, 3)).astype(np.float32)
    cells = rng.integers(0, 6, (6, 3, 2)).astype(np.int32)
    exists = rng.random((6, 3)) < 0.8
    exists[people:] = False
    cells[~exists] = 99  # arbitrary
    found = jax.jit(tag_losses)(tags, cells, exists)
    expected = _plain_tag_losses(tags, cells, exists)
    np.testing.assert_allclose(found, expected, *(1e-5, 1e-7))


def test_tag_losses_by_hand():
    """Tags 0 and 2 of one person, 1 and 1 of another: means 1 and 1."""
    tags = jnp.array([[[0.0, 2.0], [1.0, 1.0]]])
    cells = jnp.array([[[0, 0], [0, 0]], [[1, 0], [1, 0]]], jnp.int32)
    push, pull = tag_losses(tags, cells, jnp.ones((2, 2), bool))
    assert float(push) == pytest.approx(0.5)
    assert float(pull) == pytest.approx(0.5)


def test_gradients_are_finite_without_people():
    tags, cells = jnp.ones((4, 4, 3)), jnp.zeros((2, 3, 2), jnp.int32)

    def loss(tags):
        return sum(tag_losses(tags, cells, jnp.zeros((2, 3), bool)))

    np.testing.assert_array_equal(jax.grad(loss)(tags), 0)


def test_masked_cells_count_in_the_mean_of_the_heatmap_loss(batch):
    config = HigherHRNetConfig(skeleton=SKELETON)
    one = _drawn(batch, 0)
    masks = {s: mask.at[: mask.shape[0] // 2].set(0) for s, mask in one.masks.items()}
    examples = jax.tree.map(lambda x: x[None], dataclasses.replace(one, masks=masks))
    heatmaps = jnp.full((1, 16, 16, 3), 2.0)
    found = strided_loss(heatmaps, examples, config, 4)
    assert found.shape == heatmaps.shape
    assert not np.any(found[:, :8])
    target = heatmap_target(one, config, 4)
    np.testing.assert_allclose(found[0, 8:], (2 - target[8:]) ** 2, rtol=1e-5)


@pytest.mark.parametrize("center", [False, True])
def test_a_step_down_the_gradient_lowers_the_loss(batch, fill, center):
    config = build_config("higherhrnet", TINY | {"center": center})
    method = make_higherhrnet(config)
    variables = fill(jax.eval_shape(method.init, jax.random.key(0)))

    @jax.jit
    def loss(params, batch):
        return method.loss({**variables, "params": params}, batch, jax.random.key(0))

    (before, gradient) = jax.value_and_grad(lambda p: loss(p, batch).loss)(
        variables["params"]
    )
    norm = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(gradient)))
    stepped = jax.tree.map(
        lambda x, slope: x - 1e-3 * slope / norm, variables["params"], gradient
    )
    after = loss(stepped, batch)
    assert float(after.loss) < float(before)
    assert set(after.terms) == {"heatmap", "push", "pull"}
    total = sum(float(term) for term in after.terms.values())
    assert float(after.loss) == pytest.approx(total, rel=1e-5)
    assert all(float(term) > 0 for term in after.terms.values())
