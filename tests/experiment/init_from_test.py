import copy

import jax
import numpy as np
import pytest

from logocap_jax.experiment.run import resolve
from logocap_jax.weights.files import save_safetensors, save_torch
from logocap_jax.weights.trees import flatten
from tests.runs import restore_last, train_from_config

pytestmark = pytest.mark.usefixtures("one_device")


def moved(config):
    """Weights of the model that are nowhere the fresh ones."""
    method = resolve(config).method
    fresh = jax.device_get(jax.jit(method.init)(jax.random.key(0)))
    return jax.tree.map(lambda leaf: leaf + np.float32(1), fresh)


def test_the_baseline_starts_from_logocap(config, tmp_path):
    other = moved(config)
    save_torch(tmp_path / "weights", other)
    settings = {
        name: value
        for name, value in config.method.to_dict().items()
        if name in ("backbone", "heatmap_hidden", "offset_hidden")
    }
    with config.unlocked():
        config.method = {"name": "center_offset", **settings}
    config.init_from = str(tmp_path / "weights")
    state = resolve(config).fresh_state()
    found, expected = flatten(state.variables), flatten(other)
    assert found
    for name, leaf in found.items():
        if not name.startswith("params/dense/embedding_head"):
            np.testing.assert_array_equal(leaf, expected[name])


def test_a_run_starts_from_the_weights_and_later_goes_on_without_them(
    quick_config, tmp_path, caplog
):
    config = copy.deepcopy(quick_config)
    other = moved(config)
    weights, workdir = tmp_path / "weights", tmp_path / "run"
    save_safetensors(weights, other)
    config.init_from = str(weights)
    config.epochs = 0.5
    config.learning_rate = 1e-30  # too low to change a float32
    with caplog.at_level("INFO", "logocap_jax"):
        train_from_config(config, workdir)
    assert any("start from" in line for line in caplog.messages)
    weights.unlink()
    state = restore_last(config, workdir)
    jax.tree.map(np.testing.assert_array_equal, state.params, other["params"])
    config.epochs = 1.0
    train_from_config(config, workdir)
