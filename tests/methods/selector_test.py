import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config, find_format, find_method
from logocap_jax.methods.initial_poses import TINY, InitialPosesConfig
from logocap_jax.methods.selector import (
    merge_confidence,
    read_window,
    selector_loss,
    smallest_owns,
    window_terms,
    windows_around,
)
from logocap_jax.methods.stages import run_stages
from logocap_jax.methods.targets import loss_rules, offset_loss, offset_targets
from logocap_jax.structures import View

KINDS = ("pose", "keypoint")


@pytest.mark.parametrize("wide", [False, True])
def test_a_window_that_is_the_map_has_the_loss_of_one_person(shared_dir, wide):
    with np.load(shared_dir / "siblings/sar/parity/head_plain.npz") as file:
        head = dict(file)
    c = np.moveaxis(head["confidence"], 1, -1).reshape(3, -1, 17).astype(np.float64)
    if wide:  # a constant added to all log c changes nothing
        c /= 3
    logits = jnp.asarray(np.log(c / (1 - c)), jnp.float32)
    points = head["proposal"].transpose(0, 3, 4, 1, 2).reshape(3, -1, 17, 2)
    points = jnp.asarray(points * [24, 32], jnp.float32)
    target = jnp.asarray(head["keypoints_input_px"]) / 4
    mask = jnp.ones((3, 768), bool)
    size = jnp.array([24.0, 32])
    labelled = jnp.asarray(head["keypoint_weights"] > 0)
    terms, counts = jax.vmap(lambda *x: window_terms(*x, size))(
        logits, points, target, labelled, mask
    )
    np.testing.assert_array_equal(counts, labelled)
    np.testing.assert_allclose(terms[counts].mean(), head["loss_sar"], 1e-6)


def pose_term(logits, points, target, labelled, mask, length):
    """Form B for one person, as loops."""
    c = 1 / (1 + np.exp(-logits.astype(np.float64)))
    total = sum(c[t] for t in range(len(c)) if mask[t])
    u = 0
    for t in range(len(c)):
        if mask[t]:
            d = [sum(abs(points[t, k] - target[k])) for k in np.flatnonzero(labelled)]
            u += c[t] / total * np.exp(-16 * np.mean(d) / length)
    return -np.log(u + 1e-6)


def test_one_term_per_pose_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(9, 1)).astype(np.float32)
    points = rng.uniform(0, 8, (9, 3, 2)).astype(np.float32)
    target = rng.uniform(0, 8, (3, 2)).astype(np.float32)
    labelled, mask = np.array([True, False, True]), rng.random(9) < 0.6
    arrays = (logits, points, target, labelled, mask, np.float32(11))
    terms, counts = window_terms(*map(jnp.asarray, arrays))
    assert counts.tolist() == [True]
    expected = pose_term(logits[:, 0], points, target, labelled, mask, 11)
    np.testing.assert_allclose(terms, [expected], 1e-5)


def test_cells_belong_to_the_smallest_person_that_covers_them():
    rng = np.random.default_rng(1)
    centers = rng.uniform(0, 16, (6, 2)).astype(np.float32)
    exists = np.array([True, True, False, True, True, True])
    area = np.float32([5, 3, 1, 3, 9, 2])
    window = windows_around(jnp.asarray(centers), 4, 16, 16)
    owned = smallest_owns(window, jnp.asarray(exists), jnp.asarray(area))
    for n in range(6):
        first = centers[n].astype(int) - 4
        for t in range(64):
            x, y = first + np.array([t % 8, t // 8])
            assert window.cells[n, t].tolist() == [x, y]
            covering = [
                (area[m], m)
                for m in range(6)
                if exists[m]
                and all(centers[m].astype(int) - 4 <= [x, y])
                and all([x, y] < centers[m].astype(int) + 4)
            ]
            inside = 0 <= x < 16 and 0 <= y < 16
            expected = inside and bool(exists[n]) and min(covering)[1] == n
            assert owned[n, t] == expected


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(2)
    return rng.normal(0, 3, (2, 16, 16, 17, 2)).astype(np.float32)


def loss_of(batch, offsets, kind, **changes):
    config = InitialPosesConfig(selector=kind, **changes)
    channels = config.selector_outputs
    rng = np.random.default_rng(3)
    logits = jnp.asarray(rng.normal(size=(2, 16, 16, channels)), jnp.float32)

    def run(logits, offsets):
        return selector_loss(logits, offsets, batch, loss_rules(config), config)

    return jax.jit(jax.value_and_grad(run, (0, 1)))(logits, jnp.asarray(offsets))


@pytest.mark.parametrize("kind", KINDS)
def test_empty_slots_change_nothing(batch, maps, kind):
    value, grads = loss_of(batch, maps, kind)
    kept = jax.tree.map(lambda x: x, vars(batch))
    few = {
        name: kept[name][:, :2]
        for name in ("keypoints", "labelled", "area", "size", "person")
    }
    few |= {name: kept[name][:, :2] for name in ("has_center", "box")}
    short = dataclasses.replace(batch, **few)
    other, other_grads = loss_of(short, maps, kind)
    np.testing.assert_allclose(value, other, 1e-6)
    for a, b in zip(grads, other_grads, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)
    assert all(np.isfinite(x).all() and np.any(x) for x in grads)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_has_no_loss_and_no_gradient(batch, maps, kind):
    nobody = dataclasses.replace(
        batch,
        person=jnp.zeros_like(batch.person),
        has_center=jnp.zeros_like(batch.has_center),
        keypoints=jnp.full_like(batch.keypoints, jnp.nan),
    )
    value, grads = loss_of(nobody, maps, kind)
    assert value == 0
    assert not any(np.any(x) for x in grads)


@pytest.mark.parametrize("area", [1600.0, 14400.0])
def test_offsets_have_the_gradient_of_the_offset_loss(batch, area):
    """Summed over a window, where each person is alone and errors are alike."""
    one = np.array([True, False, False, False])
    person = jnp.asarray(np.tile(one, (2, 1)))
    areas = jnp.full((2, 4), area)
    alone = dataclasses.replace(
        batch,
        person=person,
        has_center=person,
        labelled=batch.labelled & person[..., None],
        keypoints=batch.keypoints + 1.5,  # no centre lies between two cells
        area=areas,
        size=jnp.stack([areas, jnp.zeros_like(areas)], -1),
    )
    config = InitialPosesConfig(selector="keypoint")
    rules = loss_rules(config)
    target, weight = jax.vmap(lambda x: offset_targets(x, rules))(alone)
    offsets = target + 2.0  # beyond the kink of smooth L1
    _, (_, found) = loss_of(alone, offsets, "keypoint")
    expected = jax.grad(lambda x: offset_loss(x, target, weight, beta=1 / 9))(offsets)
    total, wanted = (np.abs(np.sum(x, axis=(1, 2))) for x in (found, expected))
    np.testing.assert_allclose(
        config.selector_weight * total, config.offset_loss_weight * wanted, 2e-3
    )


@pytest.mark.parametrize("channels", [1, 5])
def test_poses_are_read_from_the_most_confident_cell(channels):
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0, 1, (12, 16, channels)).astype(np.float32)
    offsets = rng.normal(size=(12, 16, 5, 2)).astype(np.float32)
    centers = np.float32([[0.4, 11.9], [8.0, 6.0], [15.2, 0.1]])
    for valid in (None, (8, 12)):
        rows, columns = valid or (12, 16)
        inside = centers if valid is None else centers[1:2]
        found = read_window(
            jnp.asarray(confidence),
            jnp.asarray(offsets),
            jnp.asarray(inside),
            radius=4,
            valid_cells=None if valid is None else jnp.asarray(valid),
        )
        for n, (cx, cy) in enumerate(inside.astype(int)):
            cells = [
                (x, y)
                for y in range(cy - 4, cy + 4)
                for x in range(cx - 4, cx + 4)
                if 0 <= x < columns and 0 <= y < rows
            ]
            for k in range(5):
                channel = k if channels > 1 else 0
                x, y = max(cells, key=lambda c: confidence[c[1], c[0], channel])
                np.testing.assert_allclose(found[n, k], [x, y] - offsets[y, x, k], 1e-6)


def test_confidences_are_averaged_with_the_mirror_image():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4, 3, 6, 3)).astype(np.float32)
    index = np.array([0, 2, 1])
    sigmoid = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = (sigmoid[:2] + sigmoid[2:, :, ::-1][..., index]) / 2
    found = merge_confidence(jnp.asarray(logits), flip_index=index)
    np.testing.assert_allclose(found, expected, 1e-5)
    one = merge_confidence(jnp.asarray(logits[..., :1]), flip_index=index)
    expected = (sigmoid[:2] + sigmoid[2:, :, ::-1])[..., :1] / 2
    np.testing.assert_allclose(one, expected, 1e-5)
    np.testing.assert_allclose(
        merge_confidence(jnp.asarray(logits), flip_index=None), sigmoid, 1e-5
    )


@pytest.mark.parametrize("name", ["center_offset", "dekr", "logocap"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_method_trains_and_finds_poses_by_a_selector(name, kind, batch, fill):
    spec = find_method(name)
    config = build_config(name, {**spec.tiny, "selector": kind})
    method = spec.make(config)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    output = jax.eval_shape(method.loss, shapes, batch, jax.random.key(0))
    assert "selector" in output.terms
    assert "offset" not in output.terms
    beside = dataclasses.replace(config, selector_replaces=False)
    output = jax.eval_shape(spec.make(beside).loss, shapes, batch, jax.random.key(0))
    assert {"selector", "offset"} <= set(output.terms)
    poses = jax.eval_shape(
        lambda *args: vars(method.predict(*args)[method.answer]),
        shapes,
        View(jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.uint8)),
    )
    assert poses["keypoints"].shape == (2, config.num_slots, 17, 2)
    table = find_format(name)
    paths = {
        "/".join(key.key for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    }
    assert table.recognise(paths)["selector"] == kind
    assert all(table.find_path(path) for path in paths)


def test_initial_poses_are_those_of_the_maps(fill, batch):
    config = build_config("center_offset", {**TINY, "selector": "keypoint"})
    spec = find_method("center_offset")
    method = spec.make(config)
    variables = fill(jax.eval_shape(method.init, jax.random.key(0)))
    wanted = ("confidence", "offsets", "centers", "initial")
    given = {"image": batch.image, "valid_size": None}
    run = jax.jit(lambda v, g: run_stages(spec.stages(config), v, g, wanted))
    found = run(variables, given)
    for i in range(2):
        expected = read_window(
            found["confidence"][i],
            found["offsets"][i],
            found["centers"][i] / 4,
            radius=4,
        )
        np.testing.assert_allclose(found["initial"][i], 4 * expected, 1e-5)


def test_several_scales_of_a_pose_map_have_no_selector():
    with pytest.raises(ValueError, match="expected scale 1 alone"):
        build_config("dekr", {"selector": "pose", "test_scales": (1.0, 2.0)})
    with pytest.raises(ValueError, match="selector='both', expected one of"):
        build_config("center_offset", {"selector": "both"})
