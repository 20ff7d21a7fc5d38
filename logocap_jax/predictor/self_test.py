"""A short test of JAX on this machine: compile, learn, decode."""

import functools
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_pipeline.drawn import draw_scene
from data_pipeline.feed.examples import make_example
from data_pipeline.feed.loss_masks import full_masks
from logocap_jax import geometry
from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import initial_poses
from logocap_jax.methods.base import Variables
from logocap_jax.methods.dense_loss import dense_losses, dense_targets
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.models.hrnet import HRNetConfig
from logocap_jax.structures import Batch, DenseMaps, Poses

SIZE = 128  # input px; a multiple of 32
_CELLS = SIZE // geometry.STRIDE

# Compiles in half the time, to programs that are slower; nothing here runs long.
_QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}

# A network with each kind of layer, to compile it fast.
_TINY = InitialPosesConfig(
    backbone=HRNetConfig(
        channels=4,
        stem_channels=4,
        layer1_channels=4,
        layer1_blocks=1,
        modules=(1, 0, 0),
        blocks=1,
    ),
    heatmap_hidden=4,
    offset_hidden=4,
    num_slots=8,
)


def run() -> Iterator[tuple[str, str]]:
    """Run the three parts one after the other.

    Yields:
      Name and result of each part.

    Raises:
      ValueError: if a result is wrong.
      RuntimeError: if JAX cannot compile or run it.
    """
    batch = drawn_batch()
    start = time.perf_counter()
    network, image = _TINY.network(), initial_poses.normalise(batch.image)
    init = functools.partial(network.init, train=False)
    variables = _filled(jax.eval_shape(init, jax.random.key(0), image))

    def loss_fn(params: Variables) -> Array:
        learned = {**variables, "params": params}
        dense = {collection: {"dense": tree} for collection, tree in learned.items()}
        maps, _ = initial_poses.train_maps(network, dense, image)
        losses = dense_losses(DenseMaps(*maps), batch, _TINY)
        return sum(losses.values(), jnp.zeros(()))

    jitted = jax.jit(jax.value_and_grad(loss_fn), compiler_options=_QUICKLY)
    step = jitted.lower(variables["params"]).compile()
    yield "compile", f"a small net's training step, {_seconds_since(start)}"

    start = time.perf_counter()
    loss, gradients = step(variables["params"])
    norm = np.linalg.norm([np.linalg.norm(leaf) for leaf in jax.tree.leaves(gradients)])
    if not (np.isfinite(loss) and 0 < norm < np.inf):
        raise ValueError(f"one step: got loss {loss} and a gradient of length {norm}")
    yield "step", f"loss {loss:.3f}, gradient {norm:.3f}, {_seconds_since(start)}"

    start = time.perf_counter()
    error = decoding_error(batch)
    # Maps are drawn with cells' corners at whole numbers and read with their middles.
    if not error < geometry.STRIDE:
        raise ValueError(
            f"decoded keypoints are {error:.1f} px off, expected < {geometry.STRIDE}"
        )
    people = batch.person.size
    yield "decode", f"{people} people, {error:.1f} px off, {_seconds_since(start)}"


def drawn_batch(seed: int = 0) -> Batch:
    """A training batch of one drawn image of people."""
    scene = draw_scene(np.random.default_rng(seed), SIZE)
    people = [person for person in scene.annotations if person.num_keypoints]
    points = np.stack([person.keypoints for person in people])
    example = make_example(
        scene.image,
        masks=full_masks((SIZE, SIZE)),
        keypoints=points[..., :2],
        labelled=points[..., 2] > 0,
        area=np.array([person.mask.sum() for person in people], np.float32),
        has_center=np.ones(len(people), bool),
        box=np.zeros((len(people), 4)),
        max_people=len(people),
    )
    return Batch(**jax.tree.map(lambda array: jnp.asarray(array)[None], example))


def decoding_error(batch: Batch) -> float:
    """Distance of the worst keypoint after a round trip of people through dense maps.

    In input px.
    """

    @functools.partial(jax.jit, compiler_options=_QUICKLY)
    def roundtrip(example: Batch) -> Poses:
        heatmaps, _, offsets, _ = dense_targets(example, _TINY)
        initial = initial_poses.decode_initial(heatmaps[..., -1], offsets, _TINY)
        return suppress(initial_poses.score_initial(initial, heatmaps))[0]

    example = jax.tree.map(lambda array: array[0], batch)
    poses = jax.device_get(roundtrip(example))
    return _worst(poses.keypoints[poses.valid], example)


def _worst(points: Float[np.ndarray, "n K 2"], truth: Batch) -> float:
    """Largest distance of a person's keypoints from the pose nearest to them."""
    distance = np.linalg.norm(points[:, None] - np.asarray(truth.keypoints), axis=-1)
    distance = np.where(np.asarray(truth.labelled), distance, 0)  # [n, P, K]
    return float(distance.max(axis=-1).min(axis=0, initial=np.inf).max())


def _filled(shapes: Variables) -> Variables:
    """Variables without JAX's initialisers, which take long to compile."""
    rng = np.random.default_rng(0)

    def fill(leaf: jax.ShapeDtypeStruct) -> Array:
        values = np.ones(leaf.shape, np.float32)
        if len(leaf.shape) > 1:  # a kernel; all others are of norms, or biases
            values = rng.standard_normal(leaf.shape, np.float32)
            values /= np.sqrt(np.prod(leaf.shape[:-1]))
        return jnp.asarray(values)

    return jax.tree.map(fill, shapes)


def _seconds_since(start: float) -> str:
    return f"{time.perf_counter() - start:.1f} s"
