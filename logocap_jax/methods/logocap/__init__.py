"""LOGO-CAP (Xue et al., CVPR 2022): local-global contextual adaptation."""
