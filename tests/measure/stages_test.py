import copy
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.experiment.run import resolve
from logocap_jax.measure.scenes import draw_maps
from logocap_jax.measure.stages import make_stages
from logocap_jax.structures import View

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def config():
    config = runpy.run_path(str(TINY_CONFIG))["get_config"]()
    config.method.flip_test = True
    return config


@pytest.fixture(scope="module")
def method(config):
    return resolve(config).method


@pytest.fixture(scope="module")
def values(config, method):
    """All values of two images of four people."""
    maps = draw_maps(4, height=16, width=16, num_keypoints=17, embedding=2)
    rng = np.random.default_rng(0)
    variables = jax.jit(method.init)(jax.random.key(0))
    values = {
        "variables": method.prepare(variables),
        "unfolded": variables,
        "image": rng.integers(0, 255, (2, 64, 64, 3), np.uint8),
        "valid_size": np.full((2, 2), 64, np.int32),
        "maps": jax.tree.map(lambda x: jnp.stack([x, x]), maps),
        "own": np.asarray(True),
    }
    for stage in make_stages(config):
        taken = [values[name] for name in stage.takes]
        function = jax.jit(stage.function)
        values[stage.name] = values[stage.gives] = function(*taken)
    # The last one is `to-poses`.
    values["from maps"] = function(*taken[:-1], np.asarray(False))
    return values


def assert_same_poses(one, other):
    np.testing.assert_array_equal(one.valid, other.valid)
    assert np.asarray(one.valid).any()
    for name in ("keypoints", "keypoint_scores", "scores"):
        pair = (np.asarray(getattr(poses, name))[one.valid] for poses in (one, other))
        np.testing.assert_allclose(*pair, rtol=1e-3, atol=1e-5)


def test_all_in_one_program_finds_what_the_method_finds(method, values):
    predict = jax.jit(method.predict)
    poses = predict(values["unfolded"], View(values["image"], values["valid_size"]))
    assert_same_poses(values["to-poses"], poses[method.answer])


def test_the_stages_one_by_one_find_what_they_find_together(values):
    assert_same_poses(values["pose-nms"], values["after-backbone"])
    assert int(np.sum(values["after-backbone"].valid)) == 8


def test_the_maps_handed_in_count_unless_the_own_ones_are_asked_for(values):
    assert_same_poses(values["from maps"], values["after-backbone"])


def test_the_bare_network_sees_as_many_images_as_the_flip_test(values):
    assert values["bare-hrnet"].shape == (4, 16, 16, 60)


def test_only_what_follows_the_backbone_counts_people(config):
    constant = [stage.name for stage in make_stages(config) if not stage.counts_people]
    assert constant == ["bare-hrnet", "backbone"]


def test_another_method_is_refused(config):
    config = copy.deepcopy(config)
    config.method.name = "center_offset"
    with pytest.raises(ValueError, match="got a config of 'center_offset', expected"):
        make_stages(config)
