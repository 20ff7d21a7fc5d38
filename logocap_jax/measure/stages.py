"""The rows of the inference benchmark: groups of a method's named stages."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8
from ml_collections import ConfigDict

from logocap_jax.experiment.run import resolve
from logocap_jax.inference import flip
from logocap_jax.methods import build_config, initial_poses
from logocap_jax.methods.base import Variables, subtree
from logocap_jax.methods.logocap.config import Model, build_model
from logocap_jax.methods.logocap.stages import make_stages as method_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.models.hrnet import HRNet
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
    model = _model(config)

    def stage(name: str, function: Callable[..., Any], takes: str, gives: str) -> Stage:
        return Stage(
            name, functools.partial(function, model), tuple(takes.split()), gives
        )

    images = "variables image valid_size"
    return (
        stage("bare-hrnet", _bare, "unfolded image", "features"),
        stage("backbone", _backbone, images, "found"),
        stage("decode", _decode, "maps valid_size", "initial"),
        stage("local-kem", _local_kem, "maps valid_size initial", "latent"),
        stage("local-kam", _local_kam, "variables initial latent", "kam_raw"),
        stage("global-kam", _global_kam, "maps valid_size initial kam_raw", "refined"),
        stage("pose-nms", _suppress, "refined", "poses"),
        stage("after-backbone", _finish, "variables maps valid_size", "poses"),
        stage(TO_POSES, _to_poses, f"{images} maps own", "poses"),
    )


def _model(config: ConfigDict) -> Model:
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
    backbone = subtree(subtree(variables, "dense"), "backbone")
    return network.apply(backbone, pixels, train=False)  # type: ignore[return-value]


def _run(
    model: Model, variables: Variables, given: dict[str, Any], *wanted: str
) -> dict[str, Any]:
    return run_stages(method_stages(model), variables, given, wanted)


def _from_maps(
    maps: DenseMaps, valid_size: Int[Array, "B 2"] | None, **arrays: Any
) -> dict[str, Any]:
    return {**vars(maps), "valid_size": valid_size, **arrays}


def _backbone(
    model: Model,
    variables: Variables,
    image: UInt8[Array, "B H W 3"],
    valid_size: Int[Array, "B 2"] | None,
) -> DenseMaps:
    """HRNet and heads, of image and mirror image, to averaged maps."""
    given = {"image": image, "valid_size": valid_size}
    return DenseMaps(**_run(model, variables, given, *initial_poses.MAPS))


def _decode(
    model: Model, maps: DenseMaps, valid_size: Int[Array, "B 2"] | None
) -> dict[str, Array]:
    """Centres, and the keypoints that the offsets there point to."""
    wanted = ("initial", "center_values", "valid")
    return _run(model, {}, _from_maps(maps, valid_size), *wanted)


def _local_kem(
    model: Model,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
    initial: dict[str, Array],
) -> Float[Array, "B N E E KD"]:
    """The mesh around each keypoint, and the embedding there."""
    given = _from_maps(maps, valid_size, **initial)
    return _run(model, {}, given, "latent")["latent"]


def _local_kam(
    model: Model,
    variables: Variables,
    initial: dict[str, Array],
    latent: Float[Array, "B N E E KD"],
) -> Float[Array, "B N E E K"]:
    """Message passing."""
    given = {**initial, "latent": latent}
    return _run(model, variables, given, "kam_raw")["kam_raw"]


def _global_kam(
    model: Model,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
    initial: dict[str, Array],
    kam: Float[Array, "B N E E K"],
) -> Poses:
    """Windows, dynamic convolution, peaks."""
    given = _from_maps(maps, valid_size, **initial, kam_raw=kam)
    return _run(model, {}, given, "refined_poses")["refined_poses"]


def _suppress(model: Model, refined: Poses) -> Poses:
    given = {"initial_poses": refined, "refined_poses": refined}
    return _run(model, {}, given, "outputs")["outputs"]["logocap"]


def _finish(
    model: Model,
    variables: Variables,
    maps: DenseMaps,
    valid_size: Int[Array, "B 2"] | None,
) -> Poses:
    """All after the backbone, in one program."""
    given = _from_maps(maps, valid_size)
    return _run(model, variables, given, "outputs")["outputs"]["logocap"]


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
