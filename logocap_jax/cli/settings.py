"""Settings of a method on the command line."""

import argparse
import ast
from collections.abc import Sequence


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare `--set KEY=VALUE`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the method that the weights do not bring with them",
    )


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """What was given with `--set`.

    Raises:
      ValueError: if one is not `KEY=VALUE` with a Python literal as the value.
    """
    return dict(map(_parse_setting, texts))


def _parse_setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"--set {text}: expected KEY=VALUE, such as window_radius=48"
        ) from error
