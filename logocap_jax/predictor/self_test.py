"""Three small things that only work where JAX does: compile, learn, decode."""

import functools
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_pipeline.drawn import draw_scene
from data_pipeline.feed.examples import full_masks, make_example
from logocap_jax import geometry
from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import build_method
from logocap_jax.methods.base import Variables
from logocap_jax.methods.dense_loss import dense_targets
from logocap_jax.methods.initial_poses import decode_initial
from logocap_jax.methods.logocap.config import LogoCapConfig, build_model
from logocap_jax.methods.logocap.stages import refine_image
from logocap_jax.structures import Batch, Poses

SIZE = 128  # input px; a multiple of 32
_CELLS = SIZE // geometry.STRIDE

# Compiles in half the time, to programs that are slower; nothing here runs long.
_QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}

# A network with each kind of layer, to compile it fast.
_TINY = {
    "backbone": {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 0, 0),
        "blocks": 1,
    },
    "heatmap_hidden": 4,
    "offset_hidden": 4,
}


def run() -> Iterator[tuple[str, str]]:
    """Run the model one after the other.

    Yields:
      What was done, and what came out of it.

    Raises:
      ValueError: if a result is wrong.
      RuntimeError: if JAX cannot compile or run it.
    """
    batch = drawn_batch()
    start = time.perf_counter()
    method = build_method("center_offset", _TINY)
    variables = _filled(jax.eval_shape(method.init, jax.random.key(0)))

    def loss_fn(params: Variables) -> Array:
        return method.loss(
            {**variables, "params": params}, batch, jax.random.key(0)
        ).loss

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
    """A drawn image of people, as training sees it."""
    scene = draw_scene(np.random.default_rng(seed), SIZE)
    people = [person for person in scene.annotations if person.num_keypoints]
    points = np.stack([person.keypoints for person in people])
    example = make_example(
        scene.image,
        masks=full_masks((SIZE, SIZE)),
        keypoints=points[..., :2],
        labelled=points[..., 2] > 0,
        area=np.array([person.mask.sum() for person in people]),
        has_center=np.ones(len(people), bool),
        box=np.zeros((len(people), 4)),
        max_people=len(people),
    )
    return Batch(**jax.tree.map(lambda array: jnp.asarray(array)[None], example))


def decoding_error(batch: Batch) -> float:
    """How far the worst keypoint is off, once people are drawn as maps and read again.

    The attraction maps say that the heatmaps' peaks are right.
    """
    model = build_model(LogoCapConfig(num_slots=8, mesh_size=3, window_radius=12))

    @functools.partial(jax.jit, compiler_options=_QUICKLY)
    def there_and_back(one: Batch) -> Poses:
        heatmaps, _, offsets, _ = dense_targets(one, model.config)
        initial = decode_initial(heatmaps[..., -1], offsets, model.config)
        kam = jnp.zeros((8, 3, 3, heatmaps.shape[-1] - 1)).at[:, 1, 1].set(1)
        return suppress(refine_image(model, heatmaps[..., :-1], initial, kam))[0]

    one = jax.tree.map(lambda array: array[0], batch)
    poses = jax.device_get(there_and_back(one))
    return _worst(poses.keypoints[poses.valid], one)


def _worst(found: Float[np.ndarray, "n K 2"], truth: Batch) -> float:
    """Largest distance of a person's keypoints from the pose nearest to them."""
    distance = np.linalg.norm(found[:, None] - np.asarray(truth.keypoints), axis=-1)
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
