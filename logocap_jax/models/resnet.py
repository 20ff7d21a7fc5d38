"""ResNet (He et al., CVPR 2016), and deconvolutions that lead it back to stride 4."""

import dataclasses
import functools

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from logocap_jax.models.layers import (
    BasicBlock,
    BatchNorm,
    Bottleneck,
    Dtype,
    conv,
    run_part,
    small_init,
)


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a ResNet.

    Attributes:
      blocks: residual blocks of each stage.
      channels: width of the first stage's 3x3 convolutions; each stage doubles it.
      stem_channels: of the first convolution, 7x7.
      bottleneck: blocks of three convolutions, which put out 4 times their width; else
        of two.
      remat: in training, keep only the inputs of blocks, and compute the rest anew for
        the gradient: less memory, more time, and the same results.

    Raises:
      ValueError: if a size has no meaning.
    """

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    channels: int = 64
    stem_channels: int = 64
    bottleneck: bool = True
    remat: bool = dataclasses.field(default=False, metadata={"free": True})

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.channels, self.stem_channels, *self.blocks) < 1:
            raise ValueError(
                f"resnet: got blocks={self.blocks}, channels={self.channels}, "
                f"stem_channels={self.stem_channels}, expected 1 or more each"
            )
        if len(self.blocks) != 4:
            raise ValueError(
                f"resnet: got blocks={self.blocks}, expected those of 4 stages"
            )


R50 = ResNetConfig()


class ResNet(nn.Module):
    """Image -> features of the last stage, at stride 32."""

    config: ResNetConfig
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W 3"], *, train: bool
    ) -> Float[Array, "B h w C"]:
        """Compute the features of normalised images, sides multiples of 32."""
        size = self.config
        run = functools.partial(run_part, train=train, remat=size.remat)
        x = conv(size.stem_channels, 7, 2, self.dtype, name="stem_conv1")(x)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="stem_norm1")(x, train=train))
        x = nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        for stage, count in enumerate(size.blocks):
            width = size.channels * 2**stage
            for i in range(count):
                stride = 2 if stage and not i else 1
                name = f"layer{stage + 1}_block{i}"
                block: nn.Module
                if size.bottleneck:
                    block = Bottleneck(width, self.dtype, stride, name=name)
                else:
                    options = {"features": width, "stride": stride, "name": name}
                    block = BasicBlock(self.dtype, **options)
                x = run(type(block).__call__, block, x)
        return x


class Deconvolutions(nn.Module):
    """Transposed 4x4 convolutions, norm, ReLU: each doubles the resolution.

    Attributes:
      channels: of each.
      dtype: dtype of the convolutions.
    """

    channels: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Apply all."""
        for i, channels in enumerate(self.channels):
            upsample = nn.ConvTranspose(
                channels,
                (4, 4),
                (2, 2),
                use_bias=False,
                dtype=self.dtype,
                kernel_init=small_init,
                name=f"conv{i}",
            )
            x = BatchNorm(dtype=self.dtype, name=f"norm{i}")(upsample(x), train=train)
            x = nn.relu(x)
        return x
