"""From photographs to poses: one call."""

from logocap_jax.predictor.poses import Poses
from logocap_jax.predictor.predictor import Predictor

__all__ = ["Poses", "Predictor"]
