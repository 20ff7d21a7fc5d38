"""Options of all commands that take a config or load a model."""

import argparse
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logocap_jax.skeletons import Skeleton


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare `--config NAME` and its overrides."""
    parser.add_argument(
        "--config",
        required=True,
        help="NAME of a config that comes with the package, or a Python file; values "
        "in it are changed by `--config.KEY=VALUE`",
    )
    _add_set(parser, "as `--config.KEY=VALUE`, such as --config.batch_size=8")


def _add_set(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help=text
    )


def expand_overrides(argv: Sequence[str]) -> Iterator[str]:
    """Write `--config.KEY=VALUE` as `--set=KEY=VALUE`, which means the same.

    Also `--config.KEY VALUE`, and for what is on or off `--config.KEY` and
    `--noconfig.KEY`.
    """
    words = list(argv)
    while words:
        word = words.pop(0)
        switch, _, key = word.partition(".")
        if switch not in ("--config", "--noconfig") or not key:
            yield word
        elif "=" in key:
            yield f"--set={key}"
        elif switch == "--config" and words and not words[0].startswith("--"):
            yield f"--set={key}={words.pop(0)}"
        else:
            yield f"--set={key}={switch == '--config'}"


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """Read settings of a method from `--set`; keys may begin with `method.`.

    Raises:
      ValueError: if one is not `KEY=VALUE` with a Python literal or a word as the
        value.
    """
    return dict(map(_parse_setting, texts))


def _parse_setting(text: str) -> tuple[str, object]:
    from logocap_jax.experiment.settings import parse_literal

    name, equals, value = text.partition("=")
    parsed = parse_literal(value)
    if not equals or (parsed == value and not value.isidentifier()):
        raise ValueError(f"--set {text}: expected KEY=VALUE, such as window_radius=48")
    return name.removeprefix("method."), parsed


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the weights, and the settings that they run with."""
    add = parser.add_argument
    add(
        "--weights",
        type=pathlib.Path,
        required=True,
        help="a run of train.py, any file that `logocap convert` reads, https://..., "
        "or a name that `logocap weights` lists",
    )
    add("--no-flip-test", action="store_true", help="half the work")
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    _add_set(
        parser,
        "a setting of the method that the weights do not bring with them; the same as "
        "`--config.method.KEY=VALUE`",
    )
    add(
        "--skeleton",
        type=pathlib.Path,
        metavar="DIR",
        help="data set that the weights were trained on, to say what their keypoints "
        "are; a run knows, and COCO's and CrowdPose's are known by their number",
    )


def add_predictor_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a model that runs on photographs."""
    add_model_options(parser)
    parser.add_argument(
        "--short-side",
        type=int,
        help="input px; by default that of the run or the named weights, else 512",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.02,
        help="poses with a lower score are left out",
    )


def parse_model_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of `add_model_options`, but the weights, by name in Python.

    Raises:
      ValueError: if a setting is not `KEY=VALUE`, or the skeleton is no data set.
    """
    return {
        "flip_test": not args.no_flip_test,
        "dtype": args.dtype,
        "settings": parse_settings(args.set),
        "skeleton": _find_skeleton(args.skeleton),
    }


def _find_skeleton(folder: pathlib.Path | None) -> "Skeleton | None":
    if folder is None:
        return None
    from data_pipeline.read.find_skeleton import find_skeleton

    return find_skeleton(folder)
