"""Heatmap-guided adaptive keypoint estimates, ranked by a scorer."""
