"""Measure the speed of inference, training, input and scoring, and their memory.

One line per row: time to compile, time of a call (median, 90th percentile, spread),
images per second, device memory, operations, and bytes accessed. `--json` keeps all of
it, `--compare` prints ratios to an earlier run's. See docs/performance.md.
"""

import argparse
import importlib
import pathlib

from logocap_jax.cli.settings import add_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(required=True, metavar="kind", dest="kind")
    _add_inference(
        kinds.add_parser("inference", help="from images to poses, by stages")
    )
    _add_training(kinds.add_parser("training", help="the step, and the loop around it"))
    _add_input(kinds.add_parser("input", help="from image files to batches"))
    _add_evaluation(
        kinds.add_parser("evaluation", help="from poses of a data set to AP")
    )


def run(args: argparse.Namespace) -> int:
    """Measure; return 1 if something did not fit into the device's memory.

    Raises:
      ValueError: if the options make no sense together.
    """
    return importlib.import_module(f"logocap_jax.measure.{args.kind}").run(args)


def _add_inference(parser: argparse.ArgumentParser) -> None:
    _add_programs(parser)
    add = parser.add_argument
    add("--weights", type=pathlib.Path, help="by default random: times are the same")
    add(
        "--people",
        metavar="N,...",
        help="in each image; by default as many as the method has slots",
    )
    add("--only", metavar="ROW,...", help="such as backbone,predict; by default all")
    add(
        "--share-canvases",
        action="store_true",
        help="pass valid sizes, as where inputs of many sizes share canvases",
    )
    add(
        "--topology",
        metavar="NAME",
        help="with --compile-only, for a device that is not there: h200:1, v5e:1x1; "
        "see logocap plan",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    _add_programs(parser)
    parser.add_argument("--people", type=int, default=5, help="in each image")
    parser.set_defaults(topology=None)


def _add_input(parser: argparse.ArgumentParser) -> None:
    _add_files(parser)
    add = parser.add_argument
    add("--data-dir", help="COCO's layout, or a prepared data set; else the config's")
    add("--workers", default="0,1,2", help="input workers; 0: threads of this process")
    add("--batches", type=int, default=10, help="in a sample of the pipeline's time")
    add("--rounds", type=int, default=5, help="samples of each time")


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--images", type=int, default=5000)
    add("--poses", type=int, default=30, help="found in each image")
    add("--people", type=int, default=3, help="who are in each image")
    add("--rounds", type=int, default=3, help="samples of each time")


def _add_files(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--json", type=pathlib.Path, help="file to write")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace any file of that name"
    )
    parser.add_argument("--compare", type=pathlib.Path, help="an earlier run's --json")


def _add_programs(parser: argparse.ArgumentParser) -> None:
    _add_files(parser)
    add = parser.add_argument
    add("--batch", metavar="N,...", help="images")
    add("--size", metavar="HxW,...", help="input px")
    add("--dtype", metavar="NAME,...", help="float32, bfloat16")
    add("--rounds", type=int, default=10, help="samples, at least")
    add("--seconds", type=float, default=5.0, help="that short calls go on for")
    add(
        "--compile-only",
        action="store_true",
        help="run nothing: memory, operations and bytes accessed",
    )
    add("--peak-tflops", type=float, help="peak rate of the device, for shares of it")
