"""Small methods, and a dense network whose maps a test chooses."""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from logocap_jax.methods import dense_loss
from logocap_jax.methods.logocap.config import LogoCapConfig, Model, build_model
from logocap_jax.models.dense import DenseNetwork
from logocap_jax.structures import Batch

SIZE, CELLS, PEOPLE = 64, 16, 4
SMALLEST = {
    **{"channels": 4, "stem_channels": 4, "layer1_channels": 4, "layer1_blocks": 1},
    **{"modules": (1, 1, 1), "blocks": 1},
}


class StoredMaps(DenseNetwork):
    """A dense network whose maps are its parameters, whatever the image."""

    def run_backbone(
        self, image: jax.Array, *, train: bool, valid_size: jax.Array | None
    ) -> jax.Array:
        return image

    def run_heads(
        self, image: jax.Array, *, train: bool, valid_size: jax.Array | None
    ) -> tuple[jax.Array, ...]:
        zeros = nn.initializers.zeros
        maps = (image.shape[0], CELLS, CELLS)
        self.variable("batch_stats", "none", jnp.zeros, ())
        num_keypoints = self.num_keypoints
        return (
            self.param("heatmaps", zeros, (*maps, num_keypoints + 1)),
            self.param("offsets", zeros, (*maps, num_keypoints, 2)),
            self.param("embedding", zeros, (*maps, self.embedding)),
        )


class Case(NamedTuple):
    """A small LOGO-CAP that knows the poses of a batch from the start."""

    model: Model
    variables: dict[str, Any]
    batch: Batch

    def with_config(self, **changes: Any) -> "Case":
        """The same with other settings of the config."""
        config = dataclasses.replace(self.model.config, **changes)
        return self._replace(model=self.model._replace(config=config))

    def with_batch(self, **changes: Any) -> "Case":
        """The same with other ground truth."""
        # Through NumPy: an array of weak type would be compiled for once more.
        arrays = jax.tree.map(
            lambda array, old: jnp.asarray(np.asarray(array), old.dtype),
            changes,
            {name: getattr(self.batch, name) for name in changes},
        )
        return self._replace(batch=dataclasses.replace(self.batch, **arrays))


@pytest.fixture(scope="session")
def config() -> LogoCapConfig:
    """Few slots, channels and window positions."""
    return LogoCapConfig(
        embedding=2,
        message_channels=(6, 6, 6),
        affines=3,
        num_slots=6,
        mesh_size=5,
        window_radius=8,
        window_sigma=4.0,
        instance_budget=4,
        flip_test=False,
    )


@pytest.fixture(scope="session")
def fill() -> Callable[[Any], Any]:
    """Fill shapes with values under which activations keep their size.

    Output layers are positive, so that there are poses to find.
    """

    def fill_leaf(path: Any, leaf: Any) -> np.ndarray:
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        values = rng.standard_normal(leaf.shape)
        if "output" in name:
            values = np.abs(values)
        if leaf.ndim > 1:
            values *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            values = 1 + 0.1 * values
        return values.astype(np.float32)

    return lambda tree: jax.tree_util.tree_map_with_path(fill_leaf, tree)


@pytest.fixture(scope="session")
def smallest() -> dict[str, Any]:
    """Settings of an HRNet with each kind of layer once."""
    return SMALLEST


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Two images; of four people two each are real, on different sides."""
    rng = np.random.default_rng(0)
    centers = np.array([[[16, 18], [46, 40]], [[20, 46], [44, 14]]], np.float32)
    spread = rng.uniform(-11, 11, (2, 2, 17, 2)).astype(np.float32)
    spread -= spread.mean(axis=2, keepdims=True)
    keypoints = np.zeros((2, PEOPLE, 17, 2), np.float32)
    keypoints[:, :2] = centers[:, :, None] + spread
    person = np.tile([True, True, False, False], (2, 1))
    area = jnp.asarray(np.where(person, [900.0, 700.0, 1, 1], 1), jnp.float32)
    return Batch(
        image=jnp.asarray(rng.integers(0, 256, (2, SIZE, SIZE, 3)), jnp.uint8),
        masks={s: jnp.ones((2, SIZE // s, SIZE // s), jnp.uint8) for s in (2, 4)},
        keypoints=jnp.asarray(keypoints),
        labelled=jnp.asarray(np.repeat(person[..., None], 17, axis=-1)),
        area=area,
        size=jnp.stack([area, jnp.zeros_like(area)], axis=-1),
        person=jnp.asarray(person),
        has_center=jnp.asarray(person),
        mirrored=jnp.zeros(2, bool),
        box=jnp.zeros((2, PEOPLE, 4)),
        content=jnp.tile(jnp.array([-0.5, -0.5, SIZE - 0.5, SIZE - 0.5]), (2, 1)),
        input_to_image=jnp.tile(jnp.eye(2, 3), (2, 1, 1)),
    )


@pytest.fixture(scope="session")
def case(config: LogoCapConfig, batch: Batch, fill: Callable[[Any], Any]) -> Case:
    """The dense maps are the batch's own targets, with a little noise."""
    dense = StoredMaps(config.backbone, 17, 0, jnp.float32, 0, config.embedding)
    model = build_model(config)._replace(dense=dense)
    features = jnp.zeros((1, 5, 5, 17 * config.embedding))
    shapes = jax.eval_shape(
        lambda: model.maps.init(jax.random.key(0), features, train=False)
    )
    maps = fill(shapes)

    heatmaps, _, offsets, _ = jax.vmap(
        lambda example: dense_loss.dense_targets(example, config)
    )(batch)
    rng = np.random.default_rng(1)
    stored = {
        "heatmaps": heatmaps + rng.normal(0, 1e-3, heatmaps.shape),
        "offsets": offsets + rng.normal(0, 0.2, offsets.shape),
        "embedding": rng.normal(0, 1, (2, CELLS, CELLS, config.embedding)),
    }
    stored = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), stored)
    stats = {"dense": {"none": jnp.zeros(())}, "maps": maps["batch_stats"]}
    params = {"dense": stored, "maps": maps["params"]}
    return Case(model, {"params": params, "batch_stats": stats}, batch)
