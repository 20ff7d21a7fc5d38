"""What every method owes to training, evaluation and prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import METHODS, build_config, find_method
from logocap_jax.methods.base import finish
from logocap_jax.methods.stages import needed_stages, run_stages
from logocap_jax.structures import View


@pytest.fixture(scope="module", params=METHODS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def config(name):
    return build_config(name, find_method(name).tiny)


@pytest.fixture(scope="module")
def method(name, config):
    return find_method(name).make(config)


@pytest.fixture(scope="module")
def variables(method, fill):
    return fill(jax.eval_shape(method.init, jax.random.key(0)))


@pytest.fixture(scope="module")
def evaluated(method, variables, batch):
    """The result of two images at once, and of each alone."""
    jitted = jax.jit(method.evaluate)

    def evaluate(batch):
        return finish(method, jax.device_get(jitted(variables, batch)))

    alone = [
        evaluate(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], batch))
        for i in range(2)
    ]
    return evaluate(batch), alone


def test_variables_are_float32_parameters_and_statistics(method):
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    assert set(shapes) == {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_loss_keeps_the_tree_of_the_statistics_and_is_a_sum_of_its_terms(
    method, variables, batch
):
    output = jax.eval_shape(method.loss, variables, batch, jax.random.key(0))
    assert output.loss.shape == ()
    assert output.terms
    scalars = [*output.terms.values(), *output.counts.values()]
    assert {leaf.shape for leaf in scalars} == {()}
    stats = jax.tree.map(lambda leaf: leaf.shape, variables["batch_stats"])
    assert jax.tree.map(lambda leaf: leaf.shape, output.batch_stats) == stats


def test_loss_is_differentiable_in_the_parameters(method, variables, batch):
    def loss(params):
        return method.loss(
            {**variables, "params": params}, batch, jax.random.key(0)
        ).loss

    gradient = jax.eval_shape(jax.grad(loss), variables["params"])
    expected = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert jax.tree.map(lambda leaf: leaf.shape, gradient) == expected


def _shapes(method, function, variables, argument):
    """Shapes of all result sets, as dicts: `Poses` takes nothing but arrays."""

    def fields(sets):
        return {name: vars(poses) for name, poses in sets.items()}

    if method.finish is None:
        return jax.eval_shape(
            lambda *args: fields(function(*args)), variables, argument
        )
    shapes = jax.eval_shape(function, variables, argument)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return fields(method.finish(zeros))


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_prediction_has_fixed_shapes_and_names_its_result(
    method, config, variables, size
):
    image = jax.ShapeDtypeStruct((3, *size, 3), jnp.uint8)
    results = _shapes(method, method.predict, variables, View(image))
    assert method.answer in results
    slots = results[method.answer]["scores"].shape[1]
    points = (3, slots, config.skeleton.num_keypoints, 2)
    for poses in results.values():
        initial = poses.pop("initial_keypoints")
        assert initial is None or initial.shape == points
        assert {name: leaf.shape for name, leaf in poses.items()} == {
            "keypoints": points,
            "keypoint_scores": points[:-1],
            "scores": (3, slots),
            "valid": (3, slots),
        }
        assert poses["valid"].dtype == jnp.bool_


def test_evaluation_holds_all_result_sets_of_prediction(method, variables, batch):
    predicted = _shapes(method, method.predict, variables, View(batch.image))
    evaluated = _shapes(method, method.evaluate, variables, batch)
    assert set(predicted) <= set(evaluated)
    assert set(evaluated) - set(predicted) == method.oracles


def test_poses_of_an_image_do_not_depend_on_its_batch(evaluated, batch):
    together, alone = evaluated
    height, width = batch.image.shape[1:3]
    for name, poses in together.items():
        assert np.any(poses.valid)
        for i, image in enumerate(alone):
            valid = np.asarray(poses.valid[i])
            np.testing.assert_array_equal(image[name].valid[0], valid)
            one, other = (
                {
                    key: np.asarray(value)[valid]
                    for key, value in vars(each).items()
                    if value is not None
                }
                for each in (
                    jax.tree.map(lambda leaf: leaf[0], image[name]),
                    jax.tree.map(lambda leaf, i=i: leaf[i], poses),
                )
            )
            # Windows outside repeat the edge of the map: their peaks tie.
            inside = np.all(
                (other["keypoints"] >= 0) & (other["keypoints"] < (width, height)), -1
            )
            assert inside.any()
            for each in (one, other):
                each["keypoints"] = each["keypoints"][inside]
            for field in ("keypoints", "keypoint_scores", "scores"):
                np.testing.assert_allclose(one[field], other[field], *(1e-3, 1e-3))


def test_valid_poses_have_finite_scores_and_keypoints(evaluated):
    """A score may be 0 or less: a net may predict it."""
    for poses in evaluated[0].values():
        valid = np.asarray(poses.valid)
        assert np.all(np.isfinite(np.asarray(poses.scores)[valid]))
        assert np.all(np.isfinite(np.asarray(poses.keypoints)[valid]))


@pytest.fixture(scope="module")
def stages(name, config):
    stages = find_method(name).stages(config)
    if not stages:
        pytest.skip("names no stages")
    return stages


def test_stages_lead_from_images_to_the_outputs_each_by_its_own_name(
    method, stages, variables, batch
):
    assert len({stage.name for stage in stages}) == len(stages)
    written = [name for stage in stages for name in stage.writes]
    assert len(set(written)) == len(written)
    given = {"image": batch.image, "valid_size": None}
    outputs = stages[-1].writes[0]
    found = jax.eval_shape(
        lambda *args: run_stages(stages, *args, (outputs,))[outputs], variables, given
    )
    predicted = jax.eval_shape(method.predict, variables, View(batch.image))
    assert jax.tree.leaves(found) == jax.tree.leaves(predicted)
    assert needed_stages(stages, given, written) == list(stages)
