"""PyTorch weights <-> variables, without PyTorch."""
