"""Bottom-up multi-person 2D pose estimation in JAX.

This file imports nothing, so that data workers can read `logocap_jax.skeletons`
without starting JAX.
"""

__version__ = "0.1.0"
