"""The baseline: initial poses are the answer (CenterNet's scheme on an HRNet)."""
