"""Train a method.

Run the same command again to go on from the last checkpoint. SIGTERM and Ctrl-C save
one first (exit codes 143 and 130); a second Ctrl-C does not wait for it. The exit code
tells why a run has ended early: docs/reliability.md.
"""

import argparse
import contextlib
import logging
import pathlib
import sys
import warnings
from collections.abc import Iterator

from absl import flags

from logocap_jax.cli.settings import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run_arguments(parser)
    parser.add_argument(
        "--workdir", type=pathlib.Path, required=True, help="folder of the run"
    )


def run(args: argparse.Namespace) -> int:
    """Train; return 0, or 128 and the number of the signal that ended the run early.

    Raises:
      ValueError: as `experiment.training.train`, with its exit code.
      OSError: if the disk is full or an input worker died.
    """
    from logocap_jax.experiment.settings import load_config

    config = load_config(args.config, args.set)
    with logging_and_processes(args):
        from logocap_jax.experiment.run import resolve
        from logocap_jax.experiment.training import train

        stopped_by = train(resolve(config, train=True), args.workdir)
    return 0 if stopped_by is None else 128 + stopped_by


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that training and evaluation share."""
    add_config(parser)
    add = parser.add_argument
    add(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, for a run of several processes; schedulers that "
        "JAX knows need none",
    )
    add("--num_processes", type=int, help="processes of the run")
    add("--process_id", type=int, help="number of this process")
    add(
        "--verbosity",
        type=int,
        default=0,
        help="1: an error comes with its traceback, and Orbax logs",
    )


@contextlib.contextmanager
def logging_and_processes(args: argparse.Namespace) -> Iterator[None]:
    """Log to stdout, and join the other processes of the run.

    Raises:
      ValueError: if the flags are incomplete, or the others cannot be reached.
    """
    # Starts JAX, which `--help` need not.
    from logocap_jax import processes

    # Grain's workers read absl flags, which `absl.app.run` would parse.
    flags.FLAGS.mark_as_parsed()
    # Orbax logs of every file.
    logging.getLogger("absl").setLevel(logging.WARNING)
    if args.verbosity <= 0:
        _hush_orbax()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("logocap_jax")
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if args.verbosity > 0 else logging.INFO)
    log.propagate = False
    try:
        if (
            processes.start(args.coordinator, args.num_processes, args.process_id)
            and not processes.is_first()
        ):
            log.setLevel(logging.WARNING)
        yield
    except (ValueError, OSError):
        log.debug("traceback", exc_info=True)
        raise
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


def _hush_orbax() -> None:
    """Let Orbax raise its errors without a page of log for each."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Writes that have not begun when the first one fails.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        # Raised by writes that are still under way when the first one has failed.
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
