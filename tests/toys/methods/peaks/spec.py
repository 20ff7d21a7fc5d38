"""The smallest method: one pose an image, each keypoint at its heatmap's peak.

A scorer may come after it.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from logocap_jax import geometry
from logocap_jax.codecs import heatmap
from logocap_jax.methods import base, scorer
from logocap_jax.methods.stages import run_stages
from logocap_jax.skeletons import COCO, Skeleton
from logocap_jax.structures import Batch, Poses, View


@dataclasses.dataclass(frozen=True)
class PeaksConfig:
    """Settings."""

    skeleton: Skeleton = COCO
    channels: int = 4
    sigma: float = 1.5
    least_score: float = dataclasses.field(default=-1e9, metadata=base.TEST_TIME)
    scorer: bool = False
    quirks: str = "reference"
    dtype: str = "float32"


class Network(nn.Module):
    """Two convolutions of stride 2, and one heatmap per keypoint."""

    channels: int
    num_keypoints: int

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        x = image.astype(jnp.float32) / 255
        for i in range(2):
            conv = nn.Conv(self.channels, (3, 3), strides=2, name=f"conv{i}")
            x = nn.relu(conv(x))
        return nn.Conv(self.num_keypoints, (1, 1), name="output")(x)


def make(config: PeaksConfig) -> base.Method:
    network = Network(config.channels, config.skeleton.num_keypoints)

    def init(key: jax.Array) -> base.Variables:
        variables = network.init(key, jnp.zeros((1, 64, 64, 3)))
        fresh = {"params": {"dense": variables["params"]}, "batch_stats": {}}
        return scorer.fresh_scorer(fresh, config, key)

    def maps_of(variables: base.Variables, image: jax.Array) -> jax.Array:
        return network.apply({"params": variables["params"]["dense"]}, image)

    def loss(
        variables: base.Variables, batch: Batch, key: jax.Array
    ) -> base.LossOutput:
        del key
        maps = maps_of(variables, batch.image)
        target = jax.vmap(targets)(batch)
        error = jnp.square(maps - target) * batch.masks[4][..., None]
        terms = {"peaks": jnp.mean(error)}
        counts = {"people": jnp.sum(batch.person)}
        return base.LossOutput(terms["peaks"], terms, counts, {})

    def targets(example: Batch) -> jax.Array:
        height, width = (size // 4 for size in example.image.shape[:2])
        return heatmap.encode(
            geometry.input_to_cell(example.keypoints, example.mirrored),
            example.labelled & example.person[:, None],
            height=height,
            width=width,
            sigmas=(config.sigma,) * config.skeleton.num_keypoints,
        )[0]

    def predict(variables: base.Variables, view: View) -> dict[str, Poses]:
        given = {"image": view.image, "input_to_image": view.input_to_image}
        return run_stages(stages(config), variables, given, ["outputs"])["outputs"]

    def explain(variables: base.Variables, view: View) -> base.Explanation:
        layer = base.MapLayer(
            maps_of(variables, view.image),
            config.skeleton.keypoints,
            geometry.CellRule(4, 0.0),
        )
        return base.Explanation(predict(variables, view), {"peak_maps": layer})

    def evaluate(variables: base.Variables, batch: Batch) -> dict[str, Poses]:
        view = View(batch.image, input_to_image=batch.input_to_image)
        return predict(variables, view)

    return base.Method(
        init=init,
        prepare=lambda variables: variables,
        loss=loss,
        predict=predict,
        evaluate=evaluate,
        explain=explain,
        answer="peaks",
        parts=scorer.PARTS,
        stages=scorer.train_stages(config, loss, make),
    )


def stages(config: PeaksConfig) -> tuple[base.Stage, ...]:
    network = Network(config.channels, config.skeleton.num_keypoints)

    def dense(variables: base.Variables, image: jax.Array) -> tuple[jax.Array]:
        return (network.apply({"params": variables["params"]["dense"]}, image),)

    def decode(
        variables: base.Variables, maps: jax.Array
    ) -> tuple[dict[str, Poses], Poses]:
        del variables
        poses = jax.vmap(lambda one: read_peaks(one, config.least_score))(maps)
        return {"peaks": poses}, poses

    writes = "unscored" if config.scorer else "outputs"
    return (
        base.Stage("maps", ("image",), ("maps",), dense),
        base.Stage("peaks", ("maps",), (writes, "poses"), decode),
        *([scorer.scoring_stage(config)] if config.scorer else []),
    )


def read_peaks(maps: jax.Array, least_score: float) -> Poses:
    """One pose of an image's heatmaps `[h, w, K]`."""
    height, width, num_keypoints = maps.shape
    flat = maps.reshape(height * width, num_keypoints)
    best = jnp.argmax(flat, axis=0)
    cells = jnp.stack([best % width, best // width], axis=-1)
    scores = jnp.max(flat, axis=0)[None]
    return Poses(
        keypoints=4.0 * cells[None],
        keypoint_scores=scores,
        scores=jnp.mean(scores, axis=-1),
        valid=jnp.mean(scores, axis=-1) > least_score,
    )


SPEC = base.MethodSpec(
    config=PeaksConfig,
    make=make,
    tiny={"channels": 4},
    inputs=lambda config: base.InputSpec(shares_canvases=False, multiple=32),
    stages=stages,
    stage_settings=scorer.STAGE_SETTINGS,
)
