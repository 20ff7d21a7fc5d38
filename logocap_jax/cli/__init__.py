"""The `logocap` command.

Each command is a module with `add_arguments(parser)` and `run(args) -> int`, and
imports what is heavy only when it runs: `logocap --help` is immediate.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from logocap_jax.cli import (
    benchmark,
    convert,
    doctor,
    export,
    parity,
    plan,
    predict,
    prepare,
    serve,
    validate,
)

COMMANDS: dict[str, ModuleType] = {
    "benchmark": benchmark,
    "convert": convert,
    "doctor": doctor,
    "export": export,
    "parity": parity,
    "plan": plan,
    "predict": predict,
    "prepare": prepare,
    "serve": serve,
    "validate": validate,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    That is 0: done, 1: not passed, 2: bad input, 130: stopped by Ctrl-C.

    Args:
      argv: arguments without the program's name; by default those of the process.
    """
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


class _WithDefaults(argparse.HelpFormatter):
    """Says what is taken where an option is not given, if that says anything."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS) or action.default == []:
            return action.help
        return f"{action.help} (default %(default)s)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="logocap", description="Bottom-up multi-person 2D pose estimation in JAX."
    )
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
        command.set_defaults(run=module.run)
    return parser
