"""HRNet (Sun et al., CVPR 2019): parallel branches at strides 4, 8, 16, 32."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from logocap_jax.models.layers import (
    BasicBlock,
    BatchNorm,
    Bottleneck,
    ConvNorm,
    Dtype,
    conv,
    run_part,
)
from logocap_jax.models.outside import extend_edges
from logocap_jax.ops.sampling import upsample_bilinear


@dataclasses.dataclass(frozen=True)
class HRNetConfig:
    """Sizes of an HRNet.

    Attributes:
      channels: channels of the stride-4 branch; each further branch doubles them.
      stem_channels: channels of the two stride-2 convolutions.
      layer1_channels: width of the first stage's bottlenecks (they put out 4x).
      layer1_blocks: number of those bottlenecks.
      modules: exchange modules in the stages of 2, 3 and 4 branches.
      blocks: residual blocks per branch and module.
      remat: in training, keep of stem, bottlenecks, transitions, exchange modules and
        heads only the inputs, and compute the rest anew for the gradient: less memory,
        more time, and the same variables and results.

    Raises:
      ValueError: if a size has no meaning.
    """

    channels: int
    stem_channels: int = 64
    layer1_channels: int = 64
    layer1_blocks: int = 4
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    remat: bool = dataclasses.field(default=False, metadata={"free": True})

    def __post_init__(self) -> None:
        """Check the sizes."""
        sizes = {**dataclasses.asdict(self), "modules": min(self.modules) + 1}
        del sizes["remat"]
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(
                    f"backbone: got {name}={getattr(self, name)}, expected 1 or more"
                )
        if len(self.modules) != 3:
            raise ValueError(
                f"backbone: got modules={self.modules}, expected those of 3 stages"
            )


W32 = HRNetConfig(channels=32)
W48 = HRNetConfig(channels=48)
# The small network whose weights and activations ../shared/parity/tiny holds.
TINY = HRNetConfig(channels=8, modules=(1, 2, 2), blocks=2)


class HRNet(nn.Module):
    """Image -> features at stride 4.

    Attributes:
      config: its sizes.
      dtype: dtype of the convolutions.
      one_branch: features are those of the first branch; the last module does not fuse
        the others.
    """

    config: HRNetConfig
    dtype: Dtype = jnp.float32
    one_branch: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W 3"],
        *,
        train: bool,
        valid_size: Int[Array, "B 2"] | None = None,
    ) -> Float[Array, "B h w C"]:
        """Compute the features.

        Args:
          x: normalised image; H and W are multiples of 32.
          train: use and update batch statistics.
          valid_size: height and width of the images in it, multiples of 32; None: all.

        Returns:
          `15 * channels` features: the four branches, upsampled bilinearly; of one
          branch, `channels`.
        """
        size, dtype, height = self.config, self.dtype, x.shape[1]
        run = functools.partial(run_part, train=train, remat=size.remat)
        x = run(HRNet._stem, self, x)
        for i in range(size.layer1_blocks):
            block = Bottleneck(size.layer1_channels, dtype, name=f"layer1_block{i}")
            x = run(Bottleneck.__call__, block, x)
        branches = [x]
        for stage, modules in enumerate(size.modules, start=2):
            branches = self._transition(branches, stage, train)
            for m in range(modules):
                is_last = stage == 4 and m == modules - 1
                exchange = ExchangeModule(
                    *(size.blocks, dtype, 1 if is_last and self.one_branch else None),
                    name=f"stage{stage}_module{m}",
                )
                branches = run(ExchangeModule.__call__, exchange, branches)
        if self.one_branch:
            return branches[0]
        if valid_size is not None:
            branches = [
                jax.vmap(extend_edges)(x, valid_size * x.shape[1] // height)
                for x in branches
            ]
        return _concatenate_upsampled(branches)

    def _stem(self, x: Array, *, train: bool) -> Array:
        """Two convolutions, to stride 4."""
        for i in (1, 2):
            name = f"stem_conv{i}"
            x = conv(self.config.stem_channels, 3, 2, self.dtype, name=name)(x)
            norm = BatchNorm(dtype=self.dtype, name=f"stem_norm{i}")
            x = nn.relu(norm(x, train=train))
        return x

    def _transition(
        self, branches: Sequence[Array], stage: int, train: bool
    ) -> list[Array]:
        """Open one branch more, from the last one at half its resolution."""

        def convert(x: Array, branch: int, stride: int) -> Array:
            features = self.config.channels * 2**branch
            name = f"transition{stage - 1}_branch{branch}"
            module = ConvNorm(features, stride=stride, dtype=self.dtype, name=name)
            x = run_part(
                ConvNorm.__call__, module, x, train=train, remat=self.config.remat
            )
            return nn.relu(x)

        opened = list(branches)
        if stage == 2:  # layer 1 has its own width, so its branch is converted too
            opened = [convert(branches[0], 0, 1)]
        return [*opened, convert(branches[-1], stage - 1, 2)]


class ExchangeModule(nn.Module):
    """Residual blocks on each branch, then every branch is fused with all others.

    Attributes:
      blocks: residual blocks per branch.
      dtype: dtype of the convolutions.
      outputs: the first so many branches are fused and returned; None: all.
    """

    blocks: int
    dtype: Dtype = jnp.float32
    outputs: int | None = None

    @nn.compact
    def __call__(self, branches: Sequence[Array], *, train: bool) -> list[Array]:
        """Apply the module to branches [B, h/2^b, w/2^b, c*2^b]."""
        refined = []
        for b, x in enumerate(branches):
            for j in range(self.blocks):
                x = BasicBlock(self.dtype, name=f"branch{b}_block{j}")(x, train=train)
            refined.append(x)
        fused = []
        for i in range(self.outputs or len(refined)):
            terms = [
                self._bring(x, j, i, refined, train) for j, x in enumerate(refined)
            ]
            fused.append(nn.relu(sum(terms[1:], start=terms[0])))
        return fused

    def _bring(
        self, x: Array, source: int, target: int, branches: list[Array], train: bool
    ) -> Array:
        """Bring branch `source` to the resolution and width of `target`."""
        width = branches[target].shape[-1]
        name = f"fuse{target}_from{source}"
        if source > target:
            up = ConvNorm(width, kernel=1, dtype=self.dtype, name=f"{name}_step0")
            factor = 2 ** (source - target)
            return jnp.repeat(
                jnp.repeat(up(x, train=train), factor, axis=1), factor, axis=2
            )
        for step in range(target - source):
            last = step == target - source - 1
            features = width if last else x.shape[-1]
            down = ConvNorm(
                features, stride=2, dtype=self.dtype, name=f"{name}_step{step}"
            )
            x = down(x, train=train)
            x = x if last else nn.relu(x)
        return x


def _concatenate_upsampled(branches: Sequence[Array]) -> Float[Array, "B h w C"]:
    """Upsample all branches to the first one's size (half-pixel bilinear), stack."""
    # Without the barrier XLA on a CPU computes the last sums anew for each pixel.
    first, *others = jax.lax.optimization_barrier(list(branches))
    upsampled = [upsample_bilinear(x, 2**b) for b, x in enumerate(others, 1)]
    return jnp.concatenate([first, *upsampled], axis=-1)
