"""LOGO-CAP's inference in the stages of the paper's table, a function each.

The only file here that knows how the method is put together.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8
from ml_collections import ConfigDict

from logocap_jax.experiment.run import resolve
from logocap_jax.inference import flip
from logocap_jax.inference.pose_nms import suppress
from logocap_jax.methods import build_config, initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.initial_poses import InitialPoses
from logocap_jax.methods.logocap import expansion, prediction
from logocap_jax.methods.logocap.config import Model, build_model
from logocap_jax.models.hrnet import HRNet
from logocap_jax.ops.valid_rows import map_valid
from logocap_jax.structures import DenseMaps, Poses

TO_POSES = "to-poses"


class Stage(NamedTuple):
    """One function of the table.

    Attributes:
      name: of its row.
      function: pure.
      takes: names of the values that it is called with.
      gives: name of its result.
    """

    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    gives: str

    @property
    def counts_people(self) -> bool:
        """Whether its time may depend on how many people there are."""
        return "image" not in self.takes or "maps" in self.takes


def make_stages(config: ConfigDict) -> tuple[Stage, ...]:
    """The stages of a config's method, in order.

    They are those of the program that `Predictor` runs: what is not of the method's
    answer is left out. Values that are there from the start: `variables`, prepared,
    and `unfolded`; `image`, uint8 `[B, H, W, 3]`; `valid_size`, int32 `[B, 2]` or None;
    `maps`, the dense maps that all after the backbone starts from; `own`, a boolean
    scalar: whether `to-poses` goes on with the maps that it has predicted itself
    instead.

    Raises:
      ValueError: if the method is not `logocap`.
    """
    model = _parts(config)

    def stage(name: str, function: Callable[..., Any], takes: str, gives: str) -> Stage:
        return Stage(
            name, functools.partial(function, model), tuple(takes.split()), gives
        )

    images = "variables image valid_size"
    return (
        stage("bare-hrnet", _bare, "unfolded image", "features"),
        stage("backbone", _backbone, images, "found"),
        stage("decode", _decode, "maps valid_size", "initial"),
        stage("local-kem", _local_kem, "maps valid_size initial", "mesh"),
        stage("local-kam", _local_kam, "variables initial mesh", "kam"),
        stage("global-kam", _global_kam, "maps valid_size initial kam", "refined"),
        stage("pose-nms", _suppress, "refined", "poses"),
        stage("after-backbone", _finish, "variables maps valid_size", "poses"),
        stage(TO_POSES, _to_poses, f"{images} maps own", "poses"),
    )


def _parts(config: ConfigDict) -> Model:
    if (name := config.method.name) != "logocap":
        raise ValueError(f"got a config of {name!r}, expected one of 'logocap'")
    return build_model(build_config(name, resolve(config).method_settings))


def _bare(
    model: Model, variables: Variables, image: UInt8[Array, "B H W 3"]
) -> Float[Array, "N h w C"]:
    """The HRNet alone, with the batch norm as in training, on as many images."""
    config = model.config
    pixels = initial_poses.normalise(image)
    if config.flip_test:
        pixels = jnp.concatenate([pixels, flip.mirror(pixels)])
    network = HRNet(config.backbone, jnp.dtype(config.dtype))
    own = subtree(subtree(variables, "dense"), "backbone")
    return network.apply(own, pixels, train=False)  # type: ignore[return-value]


def _backbone(
    model: Model,
    variables: Variables,
    image: UInt8[Array, "B H W 3"],
    valid_size: Int[Array, "B 2"] | None,
) -> DenseMaps:
    """HRNet and heads, of image and mirror image, to averaged maps."""
    pixels = initial_poses.normalise(image)
    dense = subtree(variables, "dense")
    return initial_poses.predict_maps(
        model.dense, dense, pixels, model.config, valid_size
    )


def _decode(
    model: Model, maps: DenseMaps, valid_size: Int[Array, "B 2"] | None
) -> InitialPoses:
    """Centres, and the keypoints that the offsets there point to."""
    return jax.vmap(
        lambda heatmaps, offsets, valid_size: initial_poses.decode_initial(
            heatmaps[..., -1], offsets, model.config, valid_size
        )
    )(maps.heatmaps, maps.offsets, valid_size)


def _local_kem(
    model: Model,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
    initial: InitialPoses,
) -> Float[Array, "B N E E KD"]:
    """The mesh around each keypoint, and the embedding there."""

    def compute(slots: tuple[InitialPoses, Array]) -> Array:
        some, image = slots
        mesh = expansion.expand(some.keypoints, model.mesh_offsets)
        return expansion.sample_features(maps.embedding, mesh, valid_size, image)

    return _map_slots(model, compute, initial, ())


def _local_kam(
    model: Model,
    variables: Variables,
    initial: InitialPoses,
    features: Float[Array, "B N E E KD"],
) -> Float[Array, "B N E E K"]:
    """Message passing."""
    own = subtree(variables, "maps")

    def compute(slots: tuple[InitialPoses, Array, Array]) -> Array:
        kam = model.maps.apply(own, slots[2], train=False)
        return jnp.clip(jnp.asarray(kam), 0, 1)

    return _map_slots(model, compute, initial, (features,))


def _global_kam(
    model: Model,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
    initial: InitialPoses,
    kam: Float[Array, "B N E E K"],
) -> Poses:
    """Windows, dynamic convolution, peaks."""

    def compute(slots: tuple[InitialPoses, Array, Array]) -> Poses:
        some, image, kam = slots
        return prediction.refine_image(
            model, maps.heatmaps, some, kam, valid_size, image
        )

    return _map_slots(model, compute, initial, (kam,))


def _map_slots(
    model: Model,
    compute: Callable[[Any], Any],
    initial: InitialPoses,
    others: tuple[Any, ...],
) -> Any:
    """Compute for the slots that hold a pose, in steps as `prediction` does.

    Args:
      model: say how many slots a step has.
      compute: slots, the image of each, and those of `others` -> results.
      initial: says which slots hold a pose.
      others: arrays `[B, N, ...]`.
    """
    shape = initial.valid.shape
    image = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
    rows = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), (initial, image, *others)
    )
    chunk = min(model.config.slots_per_step, shape[1]) * shape[0]
    results = map_valid(compute, rows, rows[0].valid, chunk=chunk)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), results)


def _suppress(model: Model, poses: Poses) -> Poses:
    del model
    return jax.vmap(suppress)(poses)[0]


def _finish(
    model: Model,
    variables: Variables,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
) -> Poses:
    """All after the backbone, in one program."""
    sets = prediction.read_maps(model, subtree(variables, "maps"), maps, valid_size)
    return jax.vmap(suppress)(sets["logocap"])[0]


def _to_poses(
    model: Model,
    variables: Variables,
    image: UInt8[Array, "B H W 3"],
    valid_size: Int[Array, "B 2"] | None,
    maps: DenseMaps,
    own: Bool[Array, ""],
) -> Poses:
    """From images to poses, in one program."""
    found = _backbone(model, variables, image, valid_size)
    # Not known when it is compiled: no part of either is left out.
    chosen = jax.tree.map(lambda a, b: jnp.where(own, a, b), found, maps)
    return _finish(model, variables, chosen, valid_size)
