"""Export a model as StableHLO or ONNX, to run without this project.

Writes one file with the weights inside, and a JSON beside it that describes its inputs
and outputs. StableHLO is for CPU, CUDA and TPU together: `jax.export.deserialize` reads
it in any process, and so does `Predictor.from_export`. ONNX (a target that ends in
`.onnx`) has one size. See docs/export.md.
"""

import argparse
import dataclasses
import pathlib
import time

from logocap_jax.atomic import check_writable
from logocap_jax.cli.settings import add_model_options, parse_model_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("out", type=pathlib.Path, metavar="OUT")
    add_model_options(parser)
    add(
        "--what",
        choices=("full", "dense"),
        default="full",
        help="full: to poses after NMS; dense: to the maps of the network",
    )
    add(
        "--format",
        choices=("stablehlo", "onnx"),
        help="by default what the target's suffix says, else stablehlo",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--short-side",
        type=int,
        help="input px; the long side is that of a 4:3 photograph; by default that of "
        "the run or the named weights, else 512",
    )
    size.add_argument(
        "--size", metavar="HxW", help="input px, multiples of 64, or `dynamic`"
    )
    add(
        "--batch",
        metavar="N",
        help="images, or `dynamic`; by default dynamic in StableHLO, 1 in ONNX",
    )
    add("--platforms", metavar="NAME,...", help="StableHLO: cpu,cuda,tpu by default")


def run(args: argparse.Namespace) -> int:
    """Export one model.

    Raises:
      ValueError: unusable weights or options, or the target exists.
    """
    for path in (args.out, args.out.with_name(f"{args.out.name}.json")):
        if path.exists():
            raise ValueError(f"{path}: exists; remove it or name another target")
        check_writable(path)
    by_suffix = "onnx" if args.out.suffix == ".onnx" else "stablehlo"
    file_format = args.format or by_suffix
    if file_format == "onnx" and args.platforms:
        raise ValueError(
            f"--platforms {args.platforms}: ONNX is not made for some only"
        )
    batch = args.batch or ("1" if file_format == "onnx" else "dynamic")
    model_options = parse_model_options(args)

    from logocap_jax.export import export

    start = time.perf_counter()
    options = export.ExportOptions(
        what=args.what,
        batch=_parse_batch(batch),
        platforms=tuple((args.platforms or "cpu,cuda,tpu").split(",")),
        file_format=file_format,
    )
    options = dataclasses.replace(options, size=_parse_size(args))
    info = export.export_weights(args.weights, args.out, options, **model_options)
    for kind, arrays in (("in", info.inputs), ("out", info.outputs)):
        for array in arrays:
            shape = ", ".join(map(str, array.shape))
            print(f"{kind:4} {array.name:18} {array.dtype:8} [{shape}]")
    made_for = ", ".join(info.platforms) or "onnxruntime and its like"
    print(
        f"wrote {args.out} ({args.out.stat().st_size / 1e6:.1f} MB, for {made_for}) in "
        f"{time.perf_counter() - start:.1f} s"
    )
    return 0


def _parse_size(args: argparse.Namespace) -> tuple[int, int] | None:
    """Height and width; None: dynamic."""
    from data_pipeline.feed.affine import eval_input_size
    from logocap_jax.weights.settings import usual_short_side

    if args.size is None:
        short_side = args.short_side
        if short_side is None:
            short_side = usual_short_side(args.weights) or 512
        if short_side < 1:
            raise ValueError(f"--short-side {short_side}: expected 1 or more")
        width, height = eval_input_size((4, 3), short_side=short_side)
        return height, width
    if args.size == "dynamic":
        return None
    height, _, width = args.size.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(
            f"--size {args.size}: expected HxW, such as 512x704, or dynamic"
        )
    return int(height), int(width)


def _parse_batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise ValueError(f"--batch {text}: expected a number, or dynamic")
    return int(text)
