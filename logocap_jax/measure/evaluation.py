"""Evaluation: how long scoring takes once all poses are found, on one CPU core.

By default of as many images as COCO val2017 has, and as many poses as the model finds.
"""

import argparse
import functools
import math
import sys
from collections.abc import Callable
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap benchmark evaluation` takes."""
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--poses", type=int, default=30, help="found in each image")
    parser.add_argument("--people", type=int, default=3, help="who are in each image")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each time")


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
      ValueError: if the numbers make no sense.
    """
    from logocap_jax.measure import table
    from logocap_jax.measure.found_poses import draw
    from logocap_jax.measure.rows import Row
    from logocap_jax.measure.timing import measure

    if min(args.images, args.people, args.rounds) < 1 or args.poses < args.people:
        raise ValueError(
            f"got {args.images} images with {args.people} people and {args.poses} "
            f"poses, {args.rounds} rounds, expected 1 or more of each, and a pose for "
            "each person"
        )
    truth, results = draw(images=args.images, poses=args.poses, people=args.people)
    times = measure(_evaluators(truth, results), rounds=args.rounds, seconds=0.0)
    setting = f"{args.people} people, {args.poses} poses in each of {args.images}"
    rows = [Row(name, setting, args.images, timing=times[name]) for name in times]
    print(*table.format_rows(rows), sep="\n")
    for warning in table.busy_rows(rows):
        print(warning, file=sys.stderr)
    return 0


def _evaluators(
    truth: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, Callable[[], Any]]:
    """Scoring by each evaluator that is installed; checks of the input are part of it.

    Raises:
      ValueError: if they differ.
    """
    from logocap_jax.evaluation import evaluate_coco

    plain = functools.partial(evaluate_coco, truth, results)
    faster = functools.partial(plain, evaluator="faster-coco-eval")
    expected = plain()
    try:
        found = faster()
    except ValueError as error:
        print(f"without faster-coco-eval: {error}", file=sys.stderr)
        return {"pycocotools": plain}
    if not _equal(found, expected):
        raise ValueError(f"got {found} by faster-coco-eval, expected {expected}")
    return {"pycocotools": plain, "faster-coco-eval": faster}


def _equal(one: dict[str, float | None], other: dict[str, float | None]) -> bool:
    """Whether metrics are the same; sums of another order differ in the last bit."""
    return one.keys() == other.keys() and all(
        a == b
        or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-12))
        for a, b in zip(one.values(), other.values(), strict=True)
    )
