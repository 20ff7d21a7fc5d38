"""The tiny run with a toy method: faults hit files, not methods."""

import pathlib

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method, load_config
from logocap_jax.methods import METHODS

TINY = pathlib.Path(__file__).parents[1] / "tiny_config.py"


def get_config() -> ConfigDict:
    METHODS["peaks"] = "tests.toys.methods.peaks"
    config = load_config(TINY)
    change_method(config, "peaks")
    config.checkpoint_every = 0.5  # every step, so that faults hit saves
    config.eval_every = 100.0
    return config
