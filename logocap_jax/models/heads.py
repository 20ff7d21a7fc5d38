"""Heads on the backbone's features."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.models.layers import BatchNorm, Dtype, conv


class Head(nn.Module):
    """1x1 convolution, batch norm, ReLU, and, if asked for, an output convolution.

    Attributes:
      hidden: channels of the first convolution.
      outputs: channels of the output convolution; None: no such layer.
      dtype: dtype of the computation.
    """

    hidden: int
    outputs: int | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Apply the head; the result is float32, for coordinates depend on it."""
        x = conv(self.hidden, 1, dtype=self.dtype, name="conv")(x)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))
        if self.outputs is not None:
            output = conv(
                self.outputs, 1, dtype=self.dtype, use_bias=True, name="output"
            )
            x = output(x)
        return x.astype(jnp.float32)
