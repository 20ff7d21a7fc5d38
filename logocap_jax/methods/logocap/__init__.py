"""LOGO-CAP (Xue et al., CVPR 2022): local-global contextual adaptation."""

from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.methods.logocap.method import make_logocap

__all__ = ["LogoCapConfig", "make_logocap"]
