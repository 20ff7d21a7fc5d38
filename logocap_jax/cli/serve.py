"""Serve a local page that shows the people in a photograph, and why.

Drop an image to see skeletons, initial poses and heatmaps, and the attraction maps of a
person clicked. Only this machine can reach the page, unless --host says otherwise; it
asks no other host for anything. Needs the `[demo]` extra.
"""

import argparse
import ipaddress
import os
import pathlib
import signal
import sys
import tempfile

from logocap_jax.cli.settings import (
    add_settings,
    add_skeleton,
    find_skeleton_option,
    parse_settings,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap serve` takes."""
    parser.add_argument(
        "--weights",
        type=pathlib.Path,
        required=True,
        help="a run of train.py, or any file that `logocap convert` reads",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; any but a loopback one lets others in",
    )
    parser.add_argument("--port", type=int, default=7860, help="0: any free one")
    parser.add_argument("--short-side", type=int, default=512, help="input px")
    parser.add_argument("--score-threshold", type=float, default=0.02)
    parser.add_argument("--no-flip-test", action="store_true", help="half the work")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    add_settings(parser)
    add_skeleton(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Returns:
      0.

    Raises:
      ValueError: unusable weights, or gradio is not installed.
      OSError: if the port is taken.
    """
    settings = parse_settings(args.set)
    if not is_loopback(args.host):
        print(
            f"warning: {args.host}: whoever reaches this machine can use the page; it "
            "has no password",
            file=sys.stderr,
        )
    with tempfile.TemporaryDirectory(prefix="logocap-serve-") as folder:
        _set_up_gradio(folder)
        return _serve(args, settings, pathlib.Path(folder))


def _serve(
    args: argparse.Namespace, settings: dict[str, object], folder: pathlib.Path
) -> int:
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            "got no gradio; pip install 'logocap-jax[demo]' brings it"
        ) from error

    from logocap_jax.predictor.explainer import Explainer
    from logocap_jax.serving.finding import Finder
    from logocap_jax.serving.page import build_page, launch

    explainer = Explainer.from_weights(
        args.weights,
        short_side=args.short_side,
        score_threshold=args.score_threshold,
        flip_test=not args.no_flip_test,
        dtype=args.dtype,
        settings=settings,
        skeleton=find_skeleton_option(args),
    )
    finder = Finder(explainer)
    page = build_page(finder, folder)
    # As Ctrl-C does, so that the folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    launch(page, host=args.host, port=args.port)
    finder.finish()
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or a name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _set_up_gradio(folder: str) -> None:
    """Tell gradio, before its import, where uploads go, and to report to nobody."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
