"""Weights: PyTorch files and ours <-> variables."""
