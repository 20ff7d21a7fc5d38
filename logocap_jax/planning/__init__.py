"""What a training step will need on a mesh that is not there yet."""
