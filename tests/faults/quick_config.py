"""The tiny run with the method that compiles fastest: faults hit files, not methods."""

import dataclasses
import pathlib
import runpy

from ml_collections import ConfigDict

from logocap_jax.methods.initial_poses import InitialPosesConfig

TINY = pathlib.Path(__file__).parents[1] / "tiny_config.py"


def get_config() -> ConfigDict:
    config = runpy.run_path(str(TINY))["get_config"]()
    known = {field.name for field in dataclasses.fields(InitialPosesConfig)}
    with config.unlocked():
        settings = {k: v for k, v in config.method.items() if k in known}
        config.method = {**settings, "name": "center_offset"}
        config.checkpoint_every = 0.5  # every step, so that faults hit saves
        config.eval_every = 100.0
    return config
