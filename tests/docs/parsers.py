"""The parsers of the commands, as the commands have them."""

import argparse
from collections.abc import Sequence

from logocap_jax import cli

SCRIPTS = {"train.py": "train", "eval.py": "eval"}


def arguments(words: Sequence[str]) -> list[str]:
    """The arguments of `logocap` in a command of it, or of one of the scripts."""
    if words[0] == "logocap":
        return list(words[1:])
    return [SCRIPTS[words[1]], *words[2:]]


def options(words: Sequence[str]) -> set[str]:
    """The options that a command takes, such as `--out`.

    Raises:
      KeyError: if there is no such command.
    """
    parser = cli._parser()
    for word in arguments(words):
        choices = _choices(parser)
        if choices and not word.startswith("-"):
            parser = choices[word]
    return set(parser._option_string_actions)


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
