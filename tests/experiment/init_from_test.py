import jax
import numpy as np
import pytest

from logocap_jax.experiment import build
from logocap_jax.experiment.training import train_from_config
from logocap_jax.sharding import make_mesh
from logocap_jax.weights.files import save_safetensors, save_torch
from logocap_jax.weights.trees import flatten


@pytest.fixture(scope="module")
def other(tiny_config):
    """Weights of the model that are nowhere the fresh ones."""
    method = build.make_method(tiny_config)
    fresh = jax.device_get(jax.jit(method.init)(jax.random.key(0)))
    return jax.tree.map(lambda leaf: leaf + np.float32(1), fresh)


def test_the_baseline_starts_from_logocap(config, other, tmp_path):
    save_torch(tmp_path / "weights", other)
    settings = {
        name: value
        for name, value in config.method.to_dict().items()
        if name in ("backbone", "heatmap_hidden", "offset_hidden")
    }
    with config.unlocked():
        config.method = {"name": "center_offset", **settings}
    config.init_from = str(tmp_path / "weights")
    state = build.fresh_state(config, build.make_method(config), make_mesh())
    found, expected = flatten(state.variables), flatten(other)
    assert found
    for name, leaf in found.items():
        if not name.startswith("params/dense/embedding_head"):
            np.testing.assert_array_equal(leaf, expected[name])


def test_a_run_starts_from_the_weights_and_later_goes_on_without_them(
    config, other, tmp_path, caplog
):
    weights, workdir = tmp_path / "weights", tmp_path / "run"
    save_safetensors(weights, other)
    config.init_from = str(weights)
    config.epochs = 0.5
    config.learning_rate = 1e-30  # too low to change a float32
    with caplog.at_level("INFO", "logocap_jax"):
        train_from_config(config, workdir)
    assert any("start from" in line for line in caplog.messages)
    weights.unlink()
    like = build.state_shapes(config, build.make_method(config), make_mesh())
    checkpoints = build.open_checkpoints(config, workdir, data=None)
    state = checkpoints.restore_last(like)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, state.params, other["params"])
    config.epochs = 1.0
    train_from_config(config, workdir)
