"""Settings of a method on the command line."""

import argparse
import ast
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logocap_jax.skeletons import Skeleton


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


def add_skeleton(parser: argparse.ArgumentParser) -> None:
    """Declare `--skeleton DIR`."""
    parser.add_argument(
        "--skeleton",
        type=pathlib.Path,
        metavar="DIR",
        help="data set that the weights were trained on, to say what their keypoints "
        "are; a run knows, and COCO's and CrowdPose's are known by their number",
    )


def find_skeleton_option(args: argparse.Namespace) -> "Skeleton | None":
    """What was given with `--skeleton`, if it was.

    Raises:
      ValueError: if it is no data set.
    """
    if args.skeleton is None:
        return None
    from data_pipeline.read.find_skeleton import find_skeleton

    return find_skeleton(args.skeleton)
