"""Evaluation: time to score a data set once all poses are found, on one CPU core.

By default as many images as COCO val2017 has, and as many poses as the model finds.
"""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from logocap_jax.evaluation import evaluate_coco
from logocap_jax.measure.benchmark import log, report
from logocap_jax.measure.rows import Row, format_rows, measure
from logocap_jax.skeletons import COCO


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
      ValueError: if the numbers make no sense, or evaluators differ.
    """
    if min(args.images, args.people, args.rounds) < 1 or args.poses < args.people:
        raise ValueError(
            f"got {args.images} images with {args.people} people and {args.poses} "
            f"poses, {args.rounds} rounds, expected 1 or more of each, and a pose for "
            "each person"
        )
    truth, results = draw_poses(args.images, poses=args.poses, people=args.people)
    times = measure(_evaluators(truth, results), rounds=args.rounds, seconds=0.0)
    setting = f"{args.people} people, {args.poses} poses in each of {args.images}"
    rows = [Row(name, setting, args.images, timing=times[name]) for name in times]
    print(format_rows(rows))
    report(rows, None)
    return 0


def _evaluators(
    truth: dict[str, Any], results: list[dict[str, Any]]
) -> dict[str, Callable[[], Any]]:
    """Scoring by each evaluator that is installed, checks of the input included."""
    plain = functools.partial(evaluate_coco, truth, results)
    faster = functools.partial(plain, evaluator="faster-coco-eval")
    expected = plain()
    try:
        found = faster()
    except ValueError as error:
        log(f"without faster-coco-eval: {error}")
        return {"pycocotools": plain}
    a, b = (np.array([*scores.values()], float) for scores in (found, expected))
    # The last bits of sums differ; NaN is None, of metrics without anybody to find.
    if not np.allclose(a, b, rtol=1e-12, atol=0, equal_nan=True):
        raise ValueError(f"got {found} by faster-coco-eval, expected {expected}")
    return {"pycocotools": plain, "faster-coco-eval": faster}


def draw_poses(
    images: int, *, poses: int, people: int, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw people and poses in images of 640x480: COCO annotations and results.

    Each person, all keypoints labelled, is found with a small error; the other poses
    lie elsewhere.
    """
    rng = np.random.default_rng(seed)
    sides = rng.uniform(40, 200, (images, poses, 1, 1))
    corners = rng.uniform(0, [440, 280], (images, poses, 1, 2))
    points = corners + sides * rng.uniform(0, 1, (images, poses, COCO.num_keypoints, 2))
    # A quarter of the OKS's standard deviation of a wrist, `2 s_k` sides.
    detected = points + sides * rng.normal(0, 0.03, points.shape)
    scores = rng.uniform(0, 1, (images, poses))
    annotations = [
        {
            "id": image * people + person + 1,
            "image_id": image + 1,
            "category_id": 1,
            "iscrowd": 0,
            "area": side**2,
            "bbox": [*corners[image, person, 0].tolist(), side, side],
            "num_keypoints": COCO.num_keypoints,
            "keypoints": _triplets(points[image, person], 2),
        }
        for image in range(images)
        for person, side in enumerate(sides[image, :people, 0, 0].tolist())
    ]
    results = [
        {
            "image_id": image + 1,
            "category_id": 1,
            "keypoints": _triplets(detected[image, pose], 1),
            "score": float(scores[image, pose]),
        }
        for image in range(images)
        for pose in range(poses)
    ]
    person = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
    truth = {
        "images": [{"id": image + 1} for image in range(images)],
        "categories": [person],
        "annotations": annotations,
    }
    return truth, results


def _triplets(points: Float[np.ndarray, "K 2"], third: int) -> list[float]:
    return np.column_stack([points, np.full(len(points), third)]).ravel().tolist()
