from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from logocap_jax.methods.base import LossOutput, Method
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.state import TrainState


@pytest.fixture
def one_device() -> Mesh:
    return Mesh(np.asarray(jax.devices()[:1]), ("data",))


@pytest.fixture
def make_state():
    def make(step: int, *, size: int = 3) -> TrainState:
        """A state whose arrays all depend on its step."""
        values = np.random.default_rng(step).normal(size=(2, size)).astype(np.float32)
        return TrainState(
            step=jnp.asarray(step, jnp.int32),
            params={"kernel": jnp.asarray(values)},
            batch_stats={"mean": jnp.asarray(values[0])},
            opt_state=(jnp.asarray(step), {"mu": jnp.asarray(2 * values)}),
        )

    return make


@pytest.fixture
def settings() -> dict[str, Any]:
    """What the states of `opened` checkpoints depend on."""
    backbone = {"channels": 32, "modules": (1, 4, 3)}
    return {"name": "logocap", "backbone": backbone}


@pytest.fixture
def opened(tmp_path, settings):
    """Opens checkpoints in `tmp_path`; closes those left open."""
    alive = []

    def open_(**changes):
        arguments = {"settings": settings} | changes
        alive.append(Checkpoints(tmp_path, **arguments))
        return alive[-1]

    yield open_
    for checkpoints in alive:
        checkpoints.close()


@pytest.fixture
def toy_method() -> Method:
    """Learns the mean area; `batch_stats` counts the steps."""

    def init(key):
        del key
        return {"params": {"w": jnp.zeros(())}, "batch_stats": {"n": jnp.zeros(())}}

    def loss(variables, batch, key):
        error = jnp.mean(jnp.square(variables["params"]["w"] - batch.area))
        count = variables["batch_stats"]["n"] + 1
        return LossOutput(error, {"error": error}, {}, {"n": count})

    return Method(init, None, loss, None, None, None, answer="toy")


@pytest.fixture
def make_arrays():
    def make(count: int = 8, *, side: int = 64, people: int = 3) -> dict[str, Any]:
        """Arrays of a batch whose people are so large that any pose matches them."""
        rng = np.random.default_rng(0)
        shape = (count, people)
        return {
            "image": rng.integers(0, 255, (count, side, side, 3), dtype=np.uint8),
            "masks": {4: np.ones((count, side // 4, side // 4), np.uint8)},
            "keypoints": rng.uniform(4, side - 4, (*shape, 17, 2)).astype(np.float32),
            "labelled": np.ones((*shape, 17), bool),
            "area": rng.uniform(1e6, 2e6, shape).astype(np.float32),
            "size": np.ones((*shape, 2), np.float32),
            "person": np.ones(shape, bool),
            "has_center": np.ones(shape, bool),
            "mirrored": np.arange(count) % 2 == 0,
            "box": np.zeros((*shape, 4), np.float32),
            "content": np.zeros((count, 4), np.float32),
            "input_to_image": np.zeros((count, 2, 3), np.float32),
        }

    return make
