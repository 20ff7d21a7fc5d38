"""Experiments on the library: what the paper's tables say, tried here."""
