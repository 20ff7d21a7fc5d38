"""Numerical parity with the PyTorch reference, on arrays that it dumped."""
