"""The net that predicts how good a pose is."""

import jax
from flax import linen as nn
from jaxtyping import Array, Float

# Uniform in +-sqrt(3 / fan_in).
_init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


class Scorer(nn.Module):
    """Three dense layers: features of poses -> their predicted OKS (specification, 4).

    Nothing bounds the result; it may be negative. It is float32, with full products:
    the net is small.

    Attributes:
      hidden: outputs of the first two layers.
    """

    hidden: int = 256

    @nn.compact
    def __call__(self, features: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """Predict."""
        x = features
        for number, outputs in enumerate((self.hidden, self.hidden, 1), start=1):
            x = nn.relu(x) if number > 1 else x
            x = nn.Dense(
                outputs,
                kernel_init=_init,
                precision=jax.lax.Precision.HIGHEST,
                name=f"l{number}",
            )(x)
        return x[..., 0]
