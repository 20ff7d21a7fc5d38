import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import dense_loss, initial_poses
from logocap_jax.methods.logocap import expansion, refine, training
from logocap_jax.structures import DenseMaps
from tests.reference import assignment as reference

TERMS = ("heatmap", "offset", "kam", "refined")


@pytest.fixture(scope="module")
def gradients(case):
    """Loss, metrics, statistics and gradients, compiled once per set of settings."""
    compiled = {}

    def run(other):
        config = other.model.config
        if config not in compiled:

            def compute(params, batch):
                variables = {**other.variables, "params": params}
                output = training.loss(other.model, variables, batch, jax.random.key(0))
                return output.loss, output

            compiled[config] = jax.jit(jax.value_and_grad(compute, has_aux=True))
        (_, output), gradient = compiled[config](other.variables["params"], other.batch)
        return output, gradient

    return run


@pytest.fixture(scope="module")
def result(gradients, case):
    return gradients(case)


def _assert_same(found, expected, rtol=1e-4):
    """Loss, metrics, statistics and gradients agree."""
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        scale = np.abs(other).max() + 1e-8
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


def _slots(case):
    """Initial keypoints of both images, as the network's maps say."""
    stored = case.variables["params"]["dense"]
    return [
        initial_poses.decode_initial(
            stored["heatmaps"][i, :, :, -1], stored["offsets"][i], case.model.config
        ).keypoints
        for i in range(2)
    ]


def _truth(case, image, keypoints):
    batch = case.batch
    inside = np.all((batch.keypoints[image] >= 0) & (batch.keypoints[image] < 64), -1)
    visible = np.asarray(batch.labelled[image]) & inside
    mesh = np.asarray(keypoints)[:, None, None] + case.model.mesh_offsets
    return reference.assign(
        mesh,
        np.asarray(batch.keypoints[image]),
        visible,
        np.asarray(batch.area[image]),
        case.model.config.skeleton.sigma_array,
    )


def test_loss_is_the_sum_of_its_terms_and_all_of_them_count(result):
    output, _ = result
    terms = [output.terms[name].item() for name in TERMS]
    assert output.loss.item() == pytest.approx(sum(terms), rel=1e-6)
    assert min(terms) > 0
    assert output.counts["matched_slots"] >= 4


def test_adaptation_losses_are_those_of_the_loop(case, result):
    config = case.model.config
    initial = _slots(case)
    truths = [_truth(case, i, keypoints) for i, keypoints in enumerate(initial)]
    chosen = [np.flatnonzero(truth["matched"]) for truth in truths]
    assert all(0 < len(index) <= config.instance_budget for index in chosen)
    stored = case.variables["params"]["dense"]
    picked = [initial[i][index] for i, index in enumerate(chosen)]
    features = [
        expansion.sample_features(
            stored["embedding"][i], expansion.expand(points, case.model.mesh_offsets)
        )
        for i, points in enumerate(picked)
    ]
    maps = {collection: tree["maps"] for collection, tree in case.variables.items()}
    kam, _ = case.model.maps.apply(
        maps, jnp.concatenate(features), train=True, mutable=["batch_stats"]
    )
    kams = np.split(np.asarray(kam), [len(chosen[0])])
    kam_sum, refined_terms = 0.0, []
    for i in range(2):
        windows = refine.global_windows(
            stored["heatmaps"][i, :, :, :-1],
            picked[i],
            radius=config.window_radius,
            sigma=config.window_sigma,
        )
        refined = np.asarray(refine.adapt(windows, jnp.asarray(kams[i])))
        for n, slot in enumerate(chosen[i]):
            gain = truths[i]["gain"][slot]
            kam_sum += np.mean((kams[i][n] - truths[i]["kam"][slot]) ** 2 * gain)
            goal = case.batch.keypoints[i, truths[i]["person"][slot]]
            target = refine.refined_targets(
                picked[i][n : n + 1], goal[None], radius=config.window_radius, sigma=4.0
            )[0]
            error = (refined[n] - np.asarray(target)) ** 2
            refined_terms.append(np.mean(error * gain[:, None, None]))
    terms, counts = result[0].terms, result[0].counts
    count = sum(map(len, chosen))
    assert counts["matched_slots"] == count
    assert terms["kam"].item() == pytest.approx(0.01 * kam_sum / count, rel=1e-3)
    assert terms["refined"].item() == pytest.approx(np.mean(refined_terms), rel=1e-3)


def test_poses_of_the_adaptation_are_detached_from_the_dense_losses(case, result):
    def dense(stored):
        maps = DenseMaps(**stored)
        return sum(
            dense_loss.dense_losses(maps, case.batch, case.model.config).values()
        )

    stored = case.variables["params"]["dense"]
    expected = jax.grad(dense)(stored)
    found = result[1]["dense"]
    # Neither centres nor offsets hear of the attraction or refined maps.
    np.testing.assert_allclose(
        found["heatmaps"][..., -1], expected["heatmaps"][..., -1], atol=1e-9
    )
    np.testing.assert_allclose(found["offsets"], expected["offsets"], atol=1e-9)
    keypoint_maps = found["heatmaps"] - expected["heatmaps"]
    assert np.abs(keypoint_maps[..., :-1]).max() > 1e-8
    assert np.abs(found["embedding"]).max() > 0


def test_what_padded_people_hold_changes_nothing(case, gradients, result):
    padding = ~case.batch.person
    junk = case.with_batch(
        keypoints=jnp.where(padding[..., None, None], 31.0, case.batch.keypoints),
        labelled=case.batch.labelled | padding[..., None],
        area=jnp.where(padding, 123.0, case.batch.area),
        size=jnp.where(padding[..., None], 123.0, case.batch.size),
    )
    _assert_same(gradients(junk), result)


def test_keypoints_that_are_not_labelled_change_nothing(case, gradients):
    labelled = case.batch.labelled.at[:, :, 3:7].set(False)
    far = jnp.where(labelled[..., None], case.batch.keypoints, 1e6)
    one = case.with_batch(labelled=labelled)
    other = case.with_batch(labelled=labelled, keypoints=far)
    _assert_same(gradients(other), gradients(one))


def test_order_of_the_people_changes_nothing(case, gradients, result):
    order = jnp.asarray([3, 1, 2, 0])
    shuffled = {
        name: getattr(case.batch, name)[:, order]
        for name in ("keypoints", "labelled", "area", "size", "person", "has_center")
    }
    _assert_same(gradients(case.with_batch(**shuffled)), result)


def test_budget_beyond_the_matches_changes_nothing(case, gradients, result):
    assert case.model.config.instance_budget < case.model.config.num_slots
    _assert_same(gradients(case.with_config(instance_budget=100)), result)


def _people(case, count):
    """The same batch with `count` labelled people in the first slots."""
    person = jnp.broadcast_to(jnp.arange(4) < count, (2, 4))
    keypoints = jnp.tile(case.batch.keypoints[:, :1], (1, 4, 1, 1))
    return case.with_batch(
        keypoints=keypoints + 3 * jnp.arange(4.0)[:, None, None],
        person=person,
        has_center=person,
        labelled=jnp.broadcast_to(person[..., None], (2, 4, 17)),
        area=jnp.full((2, 4), 500.0),
    )


@pytest.mark.row("annotations")
@pytest.mark.parametrize("count", [0, 1, 4])
def test_loss_and_gradients_are_finite_with_any_number_of_people(
    case, gradients, count
):
    output, gradient = gradients(_people(case, count))
    assert all(
        np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((output, gradient))
    )
    assert (output.terms["kam"] > 0) == (count > 0)


@pytest.mark.row("annotations")
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_loss_is_finite_when_no_keypoint_is_labelled_or_inside(case, gradients, shift):
    labelled = jnp.full((2, 4, 17), shift > 0)
    other = case.with_batch(labelled=labelled, keypoints=case.batch.keypoints + shift)
    output, gradient = gradients(other)
    assert all(
        np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((output, gradient))
    )
    assert output.terms["kam"] == 0
    assert output.terms["refined"] == 0


@pytest.mark.row("annotations")
def test_image_without_a_match_sends_its_first_slot_to_the_statistics(case, gradients):
    nobody = case.batch.person & False
    other = case.with_batch(person=nobody, has_center=nobody)
    output, _ = gradients(other)
    first = [points[:1] for points in _slots(case)]
    features = [
        expansion.sample_features(
            case.variables["params"]["dense"]["embedding"][i],
            expansion.expand(points, case.model.mesh_offsets),
        )
        for i, points in enumerate(first)
    ]
    maps = {collection: tree["maps"] for collection, tree in case.variables.items()}
    _, updates = case.model.maps.apply(
        maps, jnp.concatenate(features), train=True, mutable=["batch_stats"]
    )
    _assert_same(output.batch_stats["maps"], updates["batch_stats"])
    assert output.counts["matched_slots"] == 0
