"""Convolutional message passing: mesh features -> keypoint attraction maps."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from logocap_jax.models.layers import AttentiveNorm, BatchNorm, Dtype, conv


class MapPredictor(nn.Module):
    """Local KEM features of pose slots -> keypoint attraction maps (KAM).

    All keypoints of a pose share their channels, so they hear of each other. Every
    3x3 convolution is followed by a batch norm and a ReLU; in the second one the
    norm is attentive.

    Attributes:
      num_keypoints: K.
      channels: output channels of the 3x3 convolutions.
      attentive: index of the layer with the attentive norm; None: none has it.
      affines: number of affine transformations that the attentive norm mixes.
      dtype: dtype of the convolutions; the maps are float32.
    """

    num_keypoints: int
    channels: tuple[int, ...] = (512, 256, 128)
    attentive: int | None = 1
    affines: int = 20
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "S E E KD"],
        *,
        train: bool,
        mask: Bool[Array, " S"] | None = None,
    ) -> Float[Array, "S E E K"]:
        """Predict the maps.

        Args:
          features: features at the mesh of each slot, keypoint-major channels.
          train: use and update batch statistics.
          mask: the slots that take part; the others do not count in the statistics.

        Returns:
          The maps, not clipped.
        """
        where = None if mask is None else mask[:, None, None]
        x = features
        for i, channels in enumerate(self.channels):
            x = conv(channels, dtype=self.dtype, name=f"message{i}_conv")(x)
            x = nn.relu(self._norm(i)(x, train=train, mask=where))
        output = conv(
            self.num_keypoints, 1, dtype=self.dtype, use_bias=True, name="output"
        )
        return output(x).astype(jnp.float32)

    def _norm(self, layer: int) -> nn.Module:
        name = f"message{layer}_norm"
        if layer == self.attentive:
            return AttentiveNorm(self.affines, dtype=self.dtype, name=name)
        return BatchNorm(dtype=self.dtype, name=name)
