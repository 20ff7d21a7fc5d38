"""A head of heatmaps at stride 2."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.models.layers import (
    BasicBlock,
    BatchNorm,
    Dtype,
    conv,
    small_init,
)


class FineHead(nn.Module):
    """Heatmaps at stride 2: transposed convolution, norm, ReLU, blocks, 1x1.

    Attributes:
      hidden: channels inside.
      outputs: maps.
      blocks: residual blocks.
      dtype: dtype of the convolutions.
    """

    hidden: int
    outputs: int
    blocks: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B h w C"], *, train: bool
    ) -> tuple[Float[Array, "B h2 w2 F"], Float[Array, "B h2 w2 K"]]:
        """What the last convolution reads, and the maps; the maps are float32."""
        upsample = nn.ConvTranspose(
            self.hidden,
            (4, 4),
            (2, 2),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=small_init,
            name="conv",
        )
        y = BatchNorm(dtype=self.dtype, name="norm")(upsample(x), train=train)
        y = nn.relu(y)
        for i in range(1, self.blocks + 1):
            y = BasicBlock(self.dtype, small_init, name=f"block{i}")(y, train=train)
        output = conv(
            *(self.outputs, 1, 1, self.dtype),
            use_bias=True,
            kernel_init=small_init,
            name="output",
        )
        return y, output(y).astype(jnp.float32)
