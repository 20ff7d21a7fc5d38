"""The baseline: initial poses are the answer."""
