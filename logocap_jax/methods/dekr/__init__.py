"""DEKR: each keypoint regressed by a branch of adaptive convolutions of its own."""
