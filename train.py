"""Train a method.

    python train.py --config configs/NAME.py --workdir DIR [--config.key=value ...]

Run the same command again to go on from the last checkpoint.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from logocap_jax.cli.entry import run_script

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def _train() -> None:
    from logocap_jax.experiment.training import train_from_config

    train_from_config(_CONFIG.value, Path(_WORKDIR.value))


if __name__ == "__main__":
    run_script(_train, required=["config", "workdir"])
