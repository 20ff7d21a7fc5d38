"""Bottom-up multi-person 2D pose estimation in JAX.

`Predictor` is imported when it is asked for: data workers read
`logocap_jax.skeletons` without starting JAX.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Predictor":
        from logocap_jax.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
