"""Convolution, batch and attentive normalisation, residual blocks of HRNet."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

Dtype = Any

# PyTorch's default for convolutions, uniform in +-1/sqrt(fan_in), which the
# reference keeps for every layer that ImageNet weights do not cover.
torch_default_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# For heads that must start with small outputs.
small_init = nn.initializers.normal(1e-3)

# Added to variances by every batch norm (PyTorch's default).
EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, as PyTorch computes it.

    Differs from `nn.BatchNorm` in what PyTorch checkpoints expect: the running
    variance is the unbiased one, and the variance is computed in two passes.
    Under `jit` with a sharded batch the statistics are those of the global batch.
    Where there is a bias but no scale, `folding.fold_batch_norm` has put all else into
    the convolution before: at test time only the bias is added.

    Attributes:
      affine: learn a scale and a bias.
      momentum: share of the running statistics that a step keeps
        (1 - PyTorch's momentum of 0.1).
      dtype: dtype of the result; statistics are float32 always.
    """

    affine: bool = True
    momentum: float = 0.9
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch C"],
        *,
        train: bool,
        mask: Bool[Array, "*some"] | None = None,
    ) -> Float[Array, "*batch C"]:
        """Normalise `x`.

        Args:
          x: activations.
          train: use the statistics of `x`, and update the running ones.
          mask: broadcasts against `x.shape[:-1]`; False entries do not count in
            the statistics (they are normalised all the same).
        """
        channels = (x.shape[-1],)
        if not train and self._is_folded():
            bias = self.param("bias", nn.initializers.zeros, channels)
            return x + bias.astype(self.dtype)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        var = self.variable("batch_stats", "var", jnp.ones, channels)
        values = x.astype(jnp.float32)
        if train:
            batch_mean, batch_var, count = _masked_moments(values, mask)
            if not self.is_initializing():
                unbiased = batch_var * (count / jnp.maximum(count - 1, 1))
                keep = self.momentum
                mean.value = keep * mean.value + (1 - keep) * batch_mean
                var.value = keep * var.value + (1 - keep) * unbiased
        else:
            batch_mean, batch_var = mean.value, var.value
        normalised = (values - batch_mean) * jax.lax.rsqrt(batch_var + EPSILON)
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, channels)
            bias = self.param("bias", nn.initializers.zeros, channels)
            normalised = normalised * scale + bias
        return normalised.astype(self.dtype)

    def _is_folded(self) -> bool:
        known = self.is_initializing() or self.has_variable("params", "scale")
        return self.affine and not known


def _masked_moments(
    values: Float[Array, "*batch C"], mask: Bool[Array, "*some"] | None
) -> tuple[Float[Array, " C"], Float[Array, " C"], Float[Array, ""]]:
    """Mean, biased variance and count over all axes but the last."""
    axes = tuple(range(values.ndim - 1))
    shape = values.shape[:-1]
    where = jnp.ones(shape) if mask is None else jnp.broadcast_to(mask, shape)
    where = where.astype(jnp.float32)
    count = jnp.sum(where)
    where = where[..., None] / jnp.maximum(count, 1)
    mean = jnp.sum(values * where, axes)
    var = jnp.sum(jnp.square(values - mean) * where, axes)
    return mean, var, count


class Bias(nn.Module):
    """A learned bias, which starts at 0, of each channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
        """Add it."""
        return x + self.param("bias", nn.initializers.zeros, (x.shape[-1],))


class ConvNorm(nn.Module):
    """Bias-free convolution (odd `kernel`, same padding), then batch norm."""

    features: int
    kernel: int = 3
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Convolve and normalise."""
        x = conv(self.features, self.kernel, self.stride, self.dtype, name="conv")(x)
        return BatchNorm(dtype=self.dtype, name="norm")(x, train=train)


def conv(
    features: int,
    kernel: int = 3,
    stride: int = 1,
    dtype: Dtype = jnp.float32,
    *,
    use_bias: bool = False,
    kernel_init: nn.initializers.Initializer = torch_default_init,
    bias_init: nn.initializers.Initializer = nn.initializers.zeros,
    name: str,
) -> nn.Conv:
    """A square convolution with PyTorch's symmetric padding and default init."""
    return nn.Conv(
        features,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias_init,
        name=name,
    )


def run_part(
    function: Callable[..., Any], module: nn.Module, x: Any, *, train: bool, remat: bool
) -> Any:
    """Run a part of a network; with `remat`, forget all inside until the gradient."""

    def run(module: nn.Module, x: Any) -> Any:
        return function(module, x, train=train)

    return (nn.remat(run) if remat else run)(module, x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the identity (projected where shapes differ).

    Attributes:
      dtype: dtype of the convolutions.
      kernel_init: start of the kernels.
      features: of the output; None: as many as of the input.
      stride: of the first convolution.
    """

    dtype: Dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = torch_default_init
    features: int | None = None
    stride: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Apply the block."""
        features = self.features or x.shape[-1]

        def convolve(x: Array, stride: int, name: str) -> Array:
            init = self.kernel_init
            kind = {"dtype": self.dtype, "kernel_init": init, "name": name}
            return conv(features, stride=stride, **kind)(x)

        y = convolve(x, self.stride, "conv1")
        y = nn.relu(BatchNorm(dtype=self.dtype, name="norm1")(y, train=train))
        y = convolve(y, 1, "conv2")
        y = BatchNorm(dtype=self.dtype, name="norm2")(y, train=train)
        return nn.relu(_shortcut(x, y, self.stride, self.dtype, train) + y)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and the identity (projected where shapes differ).

    `channels` is the width of the 3x3 convolution, which has the `stride`; the output
    has four times as many.
    """

    channels: int
    dtype: Dtype = jnp.float32
    stride: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Apply the block."""
        wide = 4 * self.channels
        y = conv(self.channels, 1, dtype=self.dtype, name="conv1")(x)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="norm1")(y, train=train))
        y = conv(self.channels, 3, self.stride, self.dtype, name="conv2")(y)
        y = nn.relu(BatchNorm(dtype=self.dtype, name="norm2")(y, train=train))
        y = conv(wide, 1, dtype=self.dtype, name="conv3")(y)
        y = BatchNorm(dtype=self.dtype, name="norm3")(y, train=train)
        return nn.relu(_shortcut(x, y, self.stride, self.dtype, train) + y)


def _shortcut(x: Array, y: Array, stride: int, dtype: Dtype, train: bool) -> Array:
    """The identity beside a residual block's `y`, within the block's `__call__`."""
    if x.shape[-1] == y.shape[-1] and stride == 1:
        return x
    x = conv(y.shape[-1], 1, stride, dtype, name="shortcut_conv")(x)
    return BatchNorm(dtype=dtype, name="shortcut_norm")(x, train=train)


class AttentiveNorm(nn.Module):
    """Batch norm whose affine part is, per instance, a mixture of learned ones.

    `y = (a @ G) * bn(x) + (a @ B)` with the mixture weights
    `a = hsigmoid(Wa @ (mean * rsqrt(var + attention_epsilon)))`, where `mean` and
    the unbiased `var` are those of each instance's channels (reference behaviour).

    Attributes:
      affines: number of learned affine transformations.
      attention_epsilon: added to the instance variance.
      dtype: dtype of the result; all inside is float32.
    """

    affines: int = 20
    attention_epsilon: float = 1e-3
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "S E E C"],
        *,
        train: bool,
        mask: Bool[Array, "*some"] | None = None,
    ) -> Float[Array, "S E E C"]:
        """Normalise activations of S instances.

        Args:
          x: activations.
          train: use and update batch statistics.
          mask: broadcasts against [S, E, E]; False does not count in them.
        """
        shape = (self.affines, x.shape[-1])
        # Affines start near the identity, each a little different from the others.
        scale = self.param("scale", _normal_around(1.0), shape)
        bias = self.param("bias", _normal_around(0.0), shape)
        values = x.astype(jnp.float32)
        mean = jnp.mean(values, axis=(1, 2))  # [S, C]
        var = jnp.var(values, axis=(1, 2), ddof=1)  # [S, C]
        attention = nn.Dense(
            self.affines,
            use_bias=False,
            kernel_init=torch_default_init,
            name="attention",
        )
        weights = attention(mean * jax.lax.rsqrt(var + self.attention_epsilon))
        weights = nn.hard_sigmoid(weights)  # clip(x + 3, 0, 6) / 6, [S, A]
        norm = BatchNorm(affine=False, name="norm")
        normalised = norm(values, train=train, mask=mask)
        result = (weights @ scale)[:, None, None] * normalised
        return (result + (weights @ bias)[:, None, None]).astype(self.dtype)


def _normal_around(mean: float, spread: float = 0.1):
    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return mean + spread * jax.random.normal(key, shape, dtype)

    return init
