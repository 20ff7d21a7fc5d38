import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import initial_poses
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.methods.logocap import refine, stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.oks import keypoint_similarity
from logocap_jax.structures import DenseMaps, View


@pytest.fixture(scope="module")
def evaluated(case):
    """All result sets of the batch."""
    evaluate = jax.jit(
        lambda variables, batch: stages.evaluate(case.model, variables, batch)
    )
    return evaluate(case.variables, case.batch)


def _oks(case, image, person, poses):
    """Mean similarity of every pose to one person, over keypoints inside."""
    truth = case.batch.keypoints[image, person]
    sigmas = jnp.asarray(case.model.config.skeleton.sigma_array)
    area = case.batch.area[image, person]
    inside = np.all((np.asarray(truth) >= 0) & (np.asarray(truth) < 64), axis=-1)
    similarity = keypoint_similarity(poses.keypoints[image], truth, area, sigmas)
    return np.asarray(similarity)[:, inside].mean(axis=-1)


def test_initial_poses_find_the_people(case, evaluated):
    for image in range(2):
        for person in range(2):
            assert _oks(case, image, person, evaluated["initial"]).max() > 0.4


def test_bound_is_at_least_as_similar_as_the_initial_poses(case, evaluated):
    for image in range(2):
        for person in range(2):
            bound = _oks(case, image, person, evaluated["bound"]).max()
            initial = _oks(case, image, person, evaluated["initial"]).max()
            assert bound >= initial - 1e-6
            assert bound > 0.6


def test_bound_keeps_the_scores_of_the_refined_poses(evaluated):
    bound, refined = evaluated["bound"], evaluated["logocap"]
    best = (np.where(x.valid, x.scores, 0).max(axis=1) for x in (bound, refined))
    np.testing.assert_allclose(*best, rtol=1e-6)


def test_predictions_are_the_evaluated_poses_without_the_bound(case, evaluated):
    predicted = jax.jit(
        lambda variables, image: stages.predict(case.model, variables, View(image))
    )(case.variables, case.batch.image)
    assert set(evaluated) - set(predicted) == {"bound"}
    for name, poses in predicted.items():
        valid = np.asarray(poses.valid)
        np.testing.assert_array_equal(evaluated[name].valid, valid)
        np.testing.assert_allclose(
            np.asarray(evaluated[name].keypoints)[valid],
            np.asarray(poses.keypoints)[valid],
            atol=1e-3,
        )


def _run(model, variables, maps, *wanted, **given):
    """Wanted arrays from dense maps."""
    given = {**vars(maps), "valid_size": None, **given}
    return run_stages(stages.make_stages(model), variables, given, wanted)


def _refine_image(model, heatmaps, initial, kam):
    """The refined poses of one image's slots from their attraction maps."""
    slots = {"initial": initial.keypoints, "kam_raw": kam}
    slots |= {name: getattr(initial, name) for name in ("center_values", "valid")}
    given = {name: x[None] for name, x in {"heatmaps": heatmaps, **slots}.items()}
    given["valid_size"] = None
    wanted = ("refined_poses",)
    (poses,) = run_stages(stages.make_stages(model), {}, given, wanted).values()
    return jax.tree.map(lambda x: x[0], poses)


def _all_slots_image_by_image(model, variables, maps):
    """The refined poses of every slot, valid or not, no two images together."""
    refined = []
    config = dataclasses.replace(model.config, slots_per_step=6)
    model = model._replace(config=config)
    for i in range(len(maps.heatmaps)):
        one = jax.tree.map(lambda x, i=i: x[i : i + 1], maps)
        initial = initial_poses.decode_initial(
            one.heatmaps[0, ..., -1], one.offsets[0], model.config
        )
        (kam,) = _run(model, variables, one, "kam_raw")["kam_raw"]
        refined.append(_refine_image(model, one.heatmaps[0], initial, kam))
    return jax.tree.map(lambda *rows: jnp.stack(rows), *refined)


@pytest.mark.parametrize("slots_per_step", [1, 6])
@pytest.mark.parametrize("centers", [(1, 0), (0, 1), (1, 1)])
def test_slots_of_a_batch_refined_together_are_those_of_each_image(
    case, centers, slots_per_step
):
    case = case.with_config(slots_per_step=slots_per_step)
    stored = case.variables["params"]["dense"]
    # An image without a centre still has its first slot.
    strength = jnp.asarray(centers, jnp.float32)[:, None, None]
    heatmaps = stored["heatmaps"].at[..., -1].multiply(strength)
    maps = DenseMaps(heatmaps, stored["offsets"], stored["embedding"])
    both = jax.jit(
        lambda variables, maps: (
            _run(case.model, variables, maps, "refined_poses")["refined_poses"],
            _all_slots_image_by_image(case.model, variables, maps),
        )
    )
    found, expected = both(case.variables, maps)
    valid = np.asarray(expected.valid)
    assert valid.sum() >= 2
    np.testing.assert_array_equal(found.valid, valid)
    for name in ("keypoints", "keypoint_scores", "scores", "initial_keypoints"):
        np.testing.assert_allclose(
            np.asarray(getattr(found, name))[valid],
            np.asarray(getattr(expected, name))[valid],
            *(1e-5, 1e-5),
        )


@pytest.fixture
def slots():
    """Two slots on a heatmap for each keypoint, the second on its empty part."""
    rng = np.random.default_rng(0)
    heatmaps = np.zeros((16, 16, 17), np.float32)
    heatmaps[:8, :8] = rng.uniform(size=(8, 8, 17))
    keypoints = np.stack([np.full((17, 2), 14.0), np.full((17, 2), 55.0)])
    initial = InitialPoses(
        jnp.asarray(keypoints, jnp.float32),
        jnp.asarray([0.5, 0.4]),
        jnp.asarray([True, True]),
    )
    kam = jnp.asarray(rng.uniform(size=(2, 5, 5, 17)), jnp.float32)
    return jnp.asarray(heatmaps), initial, kam


def test_scores_are_those_of_the_peaks_times_the_center(case, slots):
    heatmaps, initial, kam = slots
    config = case.model.config
    windows = refine.global_windows(
        heatmaps,
        initial.keypoints,
        radius=config.window_radius,
        sigma=config.window_sigma,
    )
    keypoints, scores = refine.read_peaks(refine.adapt(windows, kam), initial.keypoints)
    poses = _refine_image(case.model, heatmaps, initial, kam)
    np.testing.assert_allclose(poses.keypoints[0], keypoints[0], atol=1e-4)
    np.testing.assert_allclose(poses.keypoint_scores[0], 0.5 * scores[0], rtol=1e-5)
    np.testing.assert_allclose(poses.scores[0], 0.5 * scores[0].mean(), rtol=1e-5)


def test_window_alone_puts_keypoints_on_the_peaks_of_the_heatmap(case, slots):
    _, initial, kam = slots
    case = case.with_config(refine_with="kem", window_sigma=None)
    # One bright cell per keypoint: its middle is half a cell in from its corner.
    cells = np.zeros((16, 16, 17), np.float32)
    cells[4, 3] = 1.0
    poses = _refine_image(case.model, jnp.asarray(cells), initial, kam)
    np.testing.assert_allclose(poses.keypoints[0], np.full((17, 2), (14, 18)), atol=1.5)
    np.testing.assert_array_less(np.asarray(poses.keypoint_scores[0]), 0.5)
    other = _refine_image(case.model, jnp.asarray(cells), initial, 0 * kam)
    np.testing.assert_array_equal(poses.keypoints, other.keypoints)


def test_attraction_map_alone_puts_keypoints_on_its_largest_value(case, slots):
    heatmaps, initial, _ = slots
    case = case.with_config(refine_with="kam")
    kam = np.full((2, 5, 5, 17), 0.1, np.float32)
    kam[:, 1, 4] = 0.8  # (x, y) = (2, -1) steps from the middle
    poses = _refine_image(case.model, 0 * heatmaps, initial, jnp.asarray(kam))
    steps = np.asarray(case.model.mesh_offsets)[1, 4]
    np.testing.assert_allclose(steps[:, 0], -2 * steps[:, 1])
    np.testing.assert_allclose(poses.keypoints[0], 14 + steps, rtol=1e-6)
    np.testing.assert_allclose(poses.keypoint_scores[0], 0.5 * 0.8, rtol=1e-6)


def test_poses_without_a_positive_score_and_empty_slots_are_dropped(case, slots):
    heatmaps, initial, kam = slots
    poses = _refine_image(case.model, heatmaps, initial, kam)
    assert list(np.asarray(poses.valid)) == [True, False]
    empty = dataclasses.replace(initial, valid=jnp.asarray([False, True]))
    poses = _refine_image(case.model, heatmaps, empty, kam)
    assert not np.any(poses.valid)


def test_attraction_maps_are_clipped_at_test_time(case):
    params = case.variables["params"]
    dense = params["dense"] | {"embedding": 50 * params["dense"]["embedding"]}
    # Even keypoints' maps turn negative.
    sign = jnp.where(jnp.arange(17) % 2, 1.0, -1.0)
    output = jax.tree.map(lambda leaf: leaf * sign, params["maps"]["output"])
    maps = params["maps"] | {"output": output}
    variables = {**case.variables, "params": {"dense": dense, "maps": maps}}
    case = case.with_config(slots_per_step=6)  # no loop: all slots, valid or not
    explain = jax.jit(lambda *args: stages.explain(case.model, *args))
    kam = np.asarray(explain(variables, View(case.batch.image)).layers["kam"].values)
    assert kam.shape == (2, 6, 5, 5, 17)
    np.testing.assert_array_equal(kam[..., ::2], 0)
    assert kam.max() == 1
    assert kam[..., 1::2].min() > 0
