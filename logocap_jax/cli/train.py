"""Train a method.

Run the same command again to go on from the last checkpoint. SIGTERM and Ctrl-C save
one first (exit codes 143 and 130); a second Ctrl-C does not wait for it. The exit code
tells why a run has ended early: docs/reliability.md.
"""

import argparse
import pathlib

from logocap_jax.cli import entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap train` takes."""
    entry.add_arguments(parser)
    parser.add_argument(
        "--workdir", type=pathlib.Path, required=True, help="folder of the run"
    )


def run(args: argparse.Namespace) -> int:
    """Train.

    Returns:
      0, or 128 and the number of the signal that ended the run early.

    Raises:
      ValueError: as `experiment.training.train`, with its exit code.
      OSError: if the disk is full or an input worker died.
    """
    from logocap_jax.experiment.settings import load_config

    config = load_config(args.config, args.set)
    with entry.logging_and_processes(args):
        from logocap_jax.experiment.run import resolve
        from logocap_jax.experiment.training import train

        stopped_by = train(resolve(config, train=True), args.workdir)
    return 0 if stopped_by is None else 128 + stopped_by
