"""The tiny run with the method that compiles fastest: faults hit files, not methods."""

import pathlib

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config

TINY = pathlib.Path(__file__).parents[1] / "tiny_config.py"


def get_config() -> ConfigDict:
    config = load_config(TINY, ["method.name=center_offset"])
    config.checkpoint_every = 0.5  # every step, so that faults hit saves
    config.eval_every = 100.0
    return config
