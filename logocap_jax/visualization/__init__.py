"""Skeleton overlays and training curves."""
