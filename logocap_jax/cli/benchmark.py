"""Measure how fast inference, training, input and scoring are, and the memory needed.

One line per row: what compiling takes, the time of a call (median, 90th percentile),
images per second, device memory, operations, and their share of what the device can do
at most. `--json` keeps all of it, `--compare` prints ratios to an earlier run's.
See docs/performance.md.
"""

import argparse
import pathlib

from logocap_jax.cli.settings import add_config
from logocap_jax.measure import evaluation as evaluation_benchmark
from logocap_jax.measure import input as input_benchmark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap benchmark` takes."""
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")

    inference = kinds.add_parser("inference", help="from images to poses, by stages")
    _add_common(inference)
    inference.add_argument(
        "--weights", type=pathlib.Path, help="by default random: times are the same"
    )
    inference.add_argument(
        "--people",
        metavar="N,...",
        help="in each image; by default as many as there are slots",
    )
    inference.add_argument(
        "--only", metavar="ROW,...", help="such as backbone,to-poses; by default all"
    )
    inference.add_argument(
        "--share-canvases",
        action="store_true",
        help="pass valid sizes, as where inputs of many sizes share canvases",
    )
    inference.add_argument(
        "--topology",
        metavar="NAME",
        help="with --compile-only, for a device that is not there: h200:1, v5e:1x1; "
        "see logocap plan",
    )
    inference.set_defaults(benchmark=_run_inference)

    training = kinds.add_parser("training", help="the step, and the loop around it")
    _add_common(training)
    training.add_argument("--people", type=int, default=5, help="in each image")
    training.set_defaults(topology=None, benchmark=_run_training)

    reading = kinds.add_parser("input", help="from image files to batches")
    input_benchmark.add_arguments(reading)
    reading.set_defaults(benchmark=input_benchmark.run)

    scoring = kinds.add_parser("evaluation", help="from poses of a data set to AP")
    evaluation_benchmark.add_arguments(scoring)
    scoring.set_defaults(benchmark=evaluation_benchmark.run)


def run(args: argparse.Namespace) -> int:
    """Measure.

    Returns:
      1 if something did not fit into the device's memory, else 0.

    Raises:
      ValueError: if the options make no sense together.
    """
    return args.benchmark(args)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--batch", metavar="N,...", help="images")
    parser.add_argument("--size", metavar="HxW,...", help="input px")
    parser.add_argument("--dtype", metavar="NAME,...", help="float32, bfloat16")
    parser.add_argument("--json", type=pathlib.Path, help="file to write")
    parser.add_argument("--compare", type=pathlib.Path, help="what --json once wrote")
    parser.add_argument("--rounds", type=int, default=10, help="samples, at least")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="that short calls go on for"
    )
    parser.add_argument(
        "--compile-only", action="store_true", help="run nothing: memory and FLOP"
    )
    parser.add_argument(
        "--peak-tflops", type=float, help="of the device, where it is not known"
    )


def _run_inference(args: argparse.Namespace) -> int:
    from logocap_jax.measure import session

    return session.run_inference(args)


def _run_training(args: argparse.Namespace) -> int:
    from logocap_jax.measure import session

    return session.run_training(args)
