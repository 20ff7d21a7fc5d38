"""A method with a step on the host, parts of different rates and masks at stride 2."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from logocap_jax import geometry
from logocap_jax.codecs import heatmap
from logocap_jax.methods import base
from logocap_jax.skeletons import COCO, Skeleton
from logocap_jax.structures import Batch, Poses, View


@dataclasses.dataclass(frozen=True)
class HostConfig:
    """Settings."""

    skeleton: Skeleton = COCO
    channels: int = 4
    sigma: float = 2.0
    dtype: str = "float32"


class Network(nn.Module):
    """A convolution of stride 2 that is frozen, and one heatmap per keypoint."""

    channels: int
    num_keypoints: int

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        x = image.astype(jnp.float32) / 255
        x = nn.relu(nn.Conv(self.channels, (3, 3), strides=2, name="base")(x))
        return nn.Conv(self.num_keypoints, (3, 3), name="head")(x)


def make(config: HostConfig) -> base.Method:
    num_keypoints = config.skeleton.num_keypoints
    network = Network(config.channels, num_keypoints)

    def init(key: jax.Array) -> base.Variables:
        params = network.init(key, jnp.zeros((1, 64, 64, 3)))["params"]
        return {"params": params, "batch_stats": {"base": {"steps": jnp.zeros(())}}}

    def loss(
        variables: base.Variables, batch: Batch, key: jax.Array
    ) -> base.LossOutput:
        noise = 1e-3 * jax.random.normal(key, batch.image.shape)
        maps = network.apply(
            {"params": variables["params"]}, batch.image.astype(jnp.float32) + noise
        )
        error = jnp.square(maps - jax.vmap(targets)(batch))
        term = jnp.mean(error * batch.masks[2][..., None])
        steps = variables["batch_stats"]["base"]["steps"] + 1
        return base.LossOutput(term, {"maps": term}, {}, {"base": {"steps": steps}})

    def targets(example: Batch) -> jax.Array:
        height, width = (size // 2 for size in example.image.shape[:2])
        return heatmap.encode(
            example.keypoints / 2,
            example.labelled & example.person[:, None],
            height=height,
            width=width,
            sigmas=(config.sigma,) * num_keypoints,
        )[0]

    def predict(variables: base.Variables, view: View) -> dict[str, Any]:
        maps = network.apply({"params": variables["params"]}, view.image)
        return {"maps": maps, "sizes": jnp.full(len(maps), 2.0)}

    def explain(variables: base.Variables, view: View) -> base.Explanation:
        outputs = predict(variables, view)
        cells = geometry.CellRule(2, 0.5)
        layer = base.MapLayer(outputs["maps"], config.skeleton.keypoints, cells)
        return base.Explanation(outputs, {"host_maps": layer})

    return base.Method(
        init=init,
        prepare=lambda variables: variables,
        loss=loss,
        predict=predict,
        evaluate=lambda variables, batch: predict(variables, View(batch.image)),
        explain=explain,
        answer="grouped",
        finish=finish,
        parts=(
            base.Part("base", ("base",), rate=0.0, frozen_norms=True),
            base.Part("head", ("head",), rate=0.5, warmup=0.5),
        ),
    )


def finish(outputs: dict[str, np.ndarray]) -> dict[str, Poses]:
    """Two poses an image: the best and the second-best peak of each keypoint."""
    assert all(isinstance(array, np.ndarray) for array in outputs.values())
    maps = outputs["maps"]
    count, height, width, num_keypoints = maps.shape
    flat = maps.reshape(count, height * width, num_keypoints)
    order = np.argsort(-flat, axis=1)[:, :2]  # [B, 2, K]
    cells = np.stack([order % width, order // width], axis=-1)
    scores = np.take_along_axis(flat, order, axis=1)
    poses = Poses(
        keypoints=(outputs["sizes"][:, None, None, None] * cells).astype(np.float32),
        keypoint_scores=scores,
        scores=scores.mean(axis=-1),
        valid=np.ones((count, 2), bool),
    )
    return {"grouped": poses}


SPEC = base.MethodSpec(
    config=HostConfig,
    make=make,
    tiny={"channels": 4},
    inputs=lambda config: base.InputSpec(mask_strides=(2,), shares_canvases=False),
)
