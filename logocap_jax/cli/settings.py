"""Options on the command line of all commands that load a model."""

import argparse
import ast
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logocap_jax.skeletons import Skeleton


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the weights, and the settings that they run with."""
    parser.add_argument(
        "--weights",
        type=pathlib.Path,
        required=True,
        help="a run of train.py, or any file that `logocap convert` reads",
    )
    parser.add_argument("--no-flip-test", action="store_true", help="half the work")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    add_settings(parser)
    parser.add_argument(
        "--skeleton",
        type=pathlib.Path,
        metavar="DIR",
        help="data set that the weights were trained on, to say what their keypoints "
        "are; a run knows, and COCO's and CrowdPose's are known by their number",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare `--set KEY=VALUE`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the method that the weights do not bring with them",
    )


def parse_model_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_model_options`, but the weights, by name in Python.

    Raises:
      ValueError: if a setting is not `KEY=VALUE`, or the skeleton is no data set.
    """
    return {
        "flip_test": not args.no_flip_test,
        "dtype": args.dtype,
        "settings": parse_settings(args.set),
        "skeleton": _find_skeleton(args.skeleton),
    }


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Settings from the texts of `--set`.

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


def _find_skeleton(folder: pathlib.Path | None) -> "Skeleton | None":
    if folder is None:
        return None
    from data_pipeline.read.find_skeleton import find_skeleton

    return find_skeleton(folder)
