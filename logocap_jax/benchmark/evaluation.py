"""Evaluation: how long scoring takes once all poses are found, on one CPU core.

People and poses are drawn at random, of as many images as COCO val2017 has: each
person is found, a little off, and the other poses of an image are found nowhere near.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float


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
    from logocap_jax.benchmark import table
    from logocap_jax.benchmark.rows import Row
    from logocap_jax.benchmark.timing import measure

    if min(args.images, args.people, args.rounds) < 1 or args.poses < args.people:
        raise ValueError(
            f"got {args.images} images with {args.people} people and {args.poses} "
            f"poses, {args.rounds} rounds, expected 1 or more of each, and a pose for "
            "each person"
        )
    truth, results = draw(images=args.images, poses=args.poses, people=args.people)
    times = measure(_evaluators(truth, results), rounds=args.rounds, seconds=0)
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

    calls = {"pycocotools": functools.partial(evaluate_coco, truth, results)}
    expected = calls["pycocotools"]()
    faster = functools.partial(calls["pycocotools"], evaluator="faster-coco-eval")
    try:
        found = faster()
    except ValueError as error:
        print(f"without faster-coco-eval: {error}", file=sys.stderr)
        return calls
    if found != expected:
        raise ValueError(f"got {found} by faster-coco-eval, expected {expected}")
    return calls | {"faster-coco-eval": faster}


def draw(
    *, images: int, poses: int, people: int, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO annotations and results of images of 640x480.

    Args:
      images: number of them.
      poses: in each, those of the people first.
      people: in each, all keypoints of whom are labelled.
      seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    sides = rng.uniform(40, 200, (images, poses, 1, 1))
    corners = rng.uniform(0, [440, 280], (images, poses, 1, 2))
    points = corners + sides * rng.uniform(0, 1, (images, poses, 17, 2))
    # A twentieth of the side is the OKS's standard deviation of a wrist.
    found = points + sides * rng.normal(0, 0.03, points.shape)
    annotations = [
        {
            "id": image * people + person + 1,
            "image_id": image + 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": side**2,
            "bbox": [*corners[image, person, 0].tolist(), side, side],
            "num_keypoints": 17,
            "keypoints": _triplets(points[image, person], 2),
        }
        for image in range(images)
        for person, side in enumerate(sides[image, :people, 0, 0].tolist())
    ]
    scores = rng.uniform(0, 1, (images, poses))
    results = [
        {
            "image_id": image + 1,
            "category_id": 1,
            "keypoints": _triplets(found[image, pose], 1),
            "score": float(scores[image, pose]),
        }
        for image in range(images)
        for pose in range(poses)
    ]
    truth = {
        "images": [{"id": image + 1} for image in range(images)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    return truth, results


def _triplets(points: Float[np.ndarray, "K 2"], third: int) -> list[float]:
    return np.column_stack([points, np.full(len(points), third)]).ravel().tolist()
