"""Train a method.

    python train.py --config configs/NAME.py --workdir DIR [--config.key=value ...]

Run the same command again to go on from the last checkpoint. SIGTERM and Ctrl-C save
one first (exit codes 143 and 130); a second Ctrl-C does not wait for it.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from logocap_jax.cli.entry import run_script

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")


def _train() -> int:
    from logocap_jax.experiment.training import train_from_config

    stopped_by = train_from_config(_CONFIG.value, Path(_WORKDIR.value))
    return 0 if stopped_by is None else 128 + stopped_by


if __name__ == "__main__":
    run_script(_train, required=["config", "workdir"])
