"""Serve a local page that shows the people in a photograph, and why.

Drop an image to see skeletons, initial poses and the method's maps; click a person to
see the small maps around its keypoints. Only this machine can reach the page, unless
--host says otherwise; it asks no other host for anything. Needs the `[demo]` extra.
"""

import argparse
import ipaddress
import os
import pathlib
import signal
import sys
import tempfile
from typing import Any

from logocap_jax.cli.settings import add_model_options, parse_model_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_options(parser)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen at; any but a loopback one lets others in",
    )
    add("--port", type=int, default=7860, help="0: any free one")
    add("--short-side", type=int, default=512, help="input px")
    add("--score-threshold", type=float, default=0.02)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
      ValueError: unusable weights, or gradio is not installed.
      OSError: if the port is taken.
    """
    options = parse_model_options(args)
    if not is_loopback(args.host):
        print(
            f"warning: {args.host}: whoever reaches this machine can use the page; it "
            "has no password",
            file=sys.stderr,
        )
    with tempfile.TemporaryDirectory(prefix="logocap-serve-") as folder:
        _set_up_gradio(folder)
        return _serve(args, options, pathlib.Path(folder))


def _serve(
    args: argparse.Namespace, options: dict[str, Any], folder: pathlib.Path
) -> int:
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            "got no gradio; pip install 'logocap-jax[demo]' brings it"
        ) from error

    from logocap_jax.predictor import Predictor
    from logocap_jax.serving.page import build_page, launch
    from logocap_jax.serving.session import TimedPredictor

    predictor = TimedPredictor(
        Predictor.from_weights(
            args.weights,
            short_side=args.short_side,
            score_threshold=args.score_threshold,
            **options,
        )
    )
    page = build_page(predictor, folder)
    # As Ctrl-C does, so that the folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    launch(page, host=args.host, port=args.port)
    predictor.finish()
    return 0


def is_loopback(host: str) -> bool:
    """True if only this machine can reach an address or a name."""
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
