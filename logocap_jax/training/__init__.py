"""Training: state, mesh, step, loop, checkpoints, metrics."""
