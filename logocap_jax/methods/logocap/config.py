"""Settings of LOGO-CAP and the networks that they describe."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax.methods.base import TEST_TIME
from logocap_jax.methods.dense_config import require
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.logocap import expansion
from logocap_jax.methods.logocap.network import MapPredictor
from logocap_jax.models.dense import DenseNetwork

REFINE_WITH = ("both", "kem", "kam")


@dataclasses.dataclass(frozen=True)
class LogoCapConfig(InitialPosesConfig):
    """Settings of LOGO-CAP; defaults are the reference's for W32.

    Attributes:
      embedding: D, channels of the features that the local KEM samples.
      message_channels: output channels of the 3x3 convolutions of message passing; a
        1x1 convolution follows them.
      attentive_layer: which of them has the attentive norm; None: none.
      affines: affine transformations that the attentive norm mixes.
      mesh_size: E, side of the local KEM and of the attraction map.
      window_radius: the global KEM's window is `2 * window_radius + 1` wide.
      window_sigma: sigma of the window's reweighing, input px; None: not reweighed.
      refined_sigma: sigma of the refined map's target, input px.
      match_threshold: similarity from which a slot takes part in training.
      instance_budget: slots per image that go through message passing in training;
        matches beyond it are dropped, lowest similarity first.
      kam_loss_weight: weight of the attraction-map loss in the total.
      slots_per_step: at test time, slots per image of the batch that each step of a
        loop refines, until no valid slot is left; `num_slots`: all, without a loop.
      refine_with: the source of refined keypoints at test time: `"both"`, the window
        convolved with the attraction map; or, as ablations, `"kem"`, the window alone,
        `"kam"`, the attraction map alone.
    """

    embedding: int = 64
    message_channels: tuple[int, ...] = (512, 256, 128)
    attentive_layer: int | None = 1
    affines: int = 20
    mesh_size: int = 11
    window_radius: int = 48
    window_sigma: float | None = 16.0
    refined_sigma: float = 4.0
    match_threshold: float = 0.5
    instance_budget: int = 8
    kam_loss_weight: float = 0.01
    slots_per_step: int = dataclasses.field(default=3, metadata=TEST_TIME)
    refine_with: str = dataclasses.field(default="both", metadata=TEST_TIME)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
          ValueError: if one has no meaning.
        """
        super().__post_init__()
        positive = (
            *("embedding", "affines", "window_radius", "instance_budget"),
            *("refined_sigma", "slots_per_step"),
        )
        require(self, positive, lambda value: value > 0, "more than 0")
        require(
            self,
            ("window_sigma",),
            lambda sigma: sigma is None or sigma > 0,
            "more than 0, or None",
        )
        require(
            self, ("refine_with",), REFINE_WITH.__contains__, f"one of {REFINE_WITH}"
        )
        # The attraction map is a kernel: an even one would shift the window.
        require(self, ("mesh_size",), lambda value: value > 0 and value % 2, "odd")
        layers = len(self.message_channels)
        require(
            self,
            ("attentive_layer",),
            lambda layer: layer is None or 0 <= layer < layers,
            f"None or 0 to {layers - 1}, one of the message-passing layers",
        )


class Model(NamedTuple):
    """The parts that the method's functions share: settings, networks, mesh.

    Attributes:
      config: settings.
      dense: image -> dense maps.
      maps: mesh features -> attraction maps.
      mesh_offsets: positions of the mesh around a keypoint, input px.
    """

    config: LogoCapConfig
    dense: DenseNetwork
    maps: MapPredictor
    mesh_offsets: Float[np.ndarray, "E E K 2"]


def build_model(config: LogoCapConfig) -> Model:
    """Build the networks (they hold no variables) and the mesh."""
    maps = MapPredictor(
        num_keypoints=config.skeleton.num_keypoints,
        channels=config.message_channels,
        attentive=config.attentive_layer,
        affines=config.affines,
        dtype=jnp.dtype(config.dtype),
    )
    offsets = expansion.mesh_offsets(config.skeleton.sigma_array, size=config.mesh_size)
    return Model(config, config.network(config.embedding), maps, offsets)
