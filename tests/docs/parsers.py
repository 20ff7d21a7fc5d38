"""The parsers of the commands, as the commands have them."""

import argparse
import contextlib
import runpy
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import grain  # noqa: F401  (defines flags that must stay)
from absl import flags
from absl.testing import flagsaver

from logocap_jax import cli
from logocap_jax.cli import entry  # noqa: F401  (as grain)
from tests.docs.pages import ROOT

SCRIPTS = ("train.py", "eval.py")


@contextlib.contextmanager
def parsed(argv: list[str]) -> Iterator[dict[str, Any]]:
    """The names of a script, with its flags as given; they are forgotten at the end."""
    # config_flags looks for overrides in the process's own arguments.
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", argv):
        script = runpy.run_path(str(ROOT / argv[0]))
        flags.FLAGS(argv)
        yield script


def options(words: Sequence[str]) -> set[str]:
    """The options that a command takes, such as `--out`.

    Raises:
      KeyError: if there is no such command.
    """
    if words[0] == "logocap":
        parser = cli._parser()
        for word in words[1:]:
            choices = _choices(parser)
            if choices and not word.startswith("-"):
                parser = choices[word]
        return set(parser._option_string_actions)
    with flagsaver.flagsaver():
        runpy.run_path(str(ROOT / words[1]))
        return {f"--{name}" for name in flags.FLAGS}


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
