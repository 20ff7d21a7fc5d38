"""Attentive normalisation (Li, Sun and Wu, ECCV 2020), as LOGO-CAP uses it."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from logocap_jax.models.layers import BatchNorm, Dtype, torch_default_init


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
        normalised = self._batch_norm(values, train, mask)
        result = (weights @ scale)[:, None, None] * normalised
        return (result + (weights @ bias)[:, None, None]).astype(self.dtype)

    def _batch_norm(
        self, values: Array, train: bool, mask: Bool[Array, "*some"] | None
    ) -> Array:
        return BatchNorm(affine=False, name="norm")(values, train=train, mask=mask)


def _normal_around(mean: float, spread: float = 0.1):
    def init(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
        return mean + spread * jax.random.normal(key, shape, dtype)

    return init
