"""The `logocap` command.

Each command is a module with `add_arguments(parser)` and `run(args) -> int`, and
imports what is heavy only when it runs: `logocap --help` is immediate.
"""

import argparse
import difflib
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from logocap_jax import __version__
from logocap_jax.cli.settings import expand_overrides

_NAMES = (
    *("benchmark", "convert", "doctor", "eval", "export", "parity", "plan"),
    *("predict", "prepare", "serve", "train", "validate", "weights"),
)
COMMANDS: dict[str, ModuleType] = {
    name: importlib.import_module(f"logocap_jax.cli.{name}") for name in _NAMES
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    That is 0: done, 1: not passed, 2: bad input, 3 to 9: a run has ended early (see
    `training/errors.py`), 130: stopped by Ctrl-C, 143: by SIGTERM.
    """
    args = parse(sys.argv[1:] if argv is None else argv)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    except (RuntimeError, AssertionError):  # both are what JAX may raise then
        if not _lacks_device():
            raise
        platforms = os.environ["JAX_PLATFORMS"]
        print(
            f"error: JAX_PLATFORMS={platforms}: got no such device that JAX can use; "
            "unset it, or take cpu; `logocap doctor` tells what is there",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _lacks_device() -> bool:
    """True if JAX is told to use devices that it does not find."""
    if not os.environ.get("JAX_PLATFORMS"):
        return False
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        return True
    return False


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command's arguments; a mistake in them ends in one line and code 2."""
    parser = _parser()
    args, unknown = parser.parse_known_args([*expand_overrides(argv)])
    if not unknown:
        return args
    name = unknown[0].partition("=")[0]
    near = difflib.get_close_matches(name, args.flags, 1)
    hint = f"did you mean {near[0]}?" if near else "see --help"
    parser.error(f"got {' '.join(unknown)}, which the command does not take; {hint}")


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"error: {message}\n")


class _WithDefaults(argparse.HelpFormatter):
    """Says what is taken where an option is not given, if that says anything."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS) or action.default == []:
            return action.help
        return f"{action.help} (default %(default)s)"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="logocap", description="Bottom-up multi-person 2D pose estimation in JAX."
    )
    parser.add_argument("--version", action="version", version=f"logocap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, module in COMMANDS.items():
        description = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=description.partition("\n")[0],
            description=description,
            formatter_class=_WithDefaults,
        )
        module.add_arguments(command)
        flags = re.findall(r"--[\w-]+", command.format_usage())
        command.set_defaults(run=module.run, flags=flags)
    return parser
