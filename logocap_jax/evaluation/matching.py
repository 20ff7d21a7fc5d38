"""Matching and ranking of poses, by pycocotools or by what computes the same."""

import contextlib
import functools
import io
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from jaxtyping import Float, Int
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data_pipeline.read.coco_checks import ANNOTATION_FIELDS


class ArrayEval(COCOeval):
    """`COCOeval` of keypoints; the same numbers, to the last bit."""

    # The name is that of the method that it takes the place of.
    def computeOks(
        self, image_id: SupportsIndex, category_id: SupportsIndex
    ) -> Float[np.ndarray, "D G"] | list[Any]:
        """OKS [D, G] of each pose to each person; poses by score, as many as count.

        Without poses or people an empty list, as in pycocotools.
        """
        people = self._gts[image_id, category_id]
        poses = self._dts[image_id, category_id]
        if not people or not poses:
            return []
        best = best_poses([pose["score"] for pose in poses], self.params.maxDets[-1])
        points = np.array([poses[index]["keypoints"] for index in best], np.float64)
        return pose_oks(points, people, self.params.kpt_oks_sigmas)


def best_poses(
    scores: Sequence[float] | Float[np.ndarray, " D"], count: int
) -> Int[np.ndarray, " n"]:
    """Positions of the `count` best poses of an image, the best first."""
    return np.argsort(-np.asarray(scores), kind="mergesort")[:count]


def pose_oks(
    found: Float[np.ndarray, "D K3"],
    people: Sequence[dict[str, Any]],
    sigmas: np.ndarray,
) -> Float[np.ndarray, "D G"]:
    """OKS of each pose to each person, as pycocotools has it.

    To a person without keypoints it tells how near a pose is to the box, twice as far
    to each side: 1 inside.

    Args:
      found: keypoints `x y score` of one after the other, image px.
      people: annotations.
      sigmas: standard deviations of the keypoints.
    """
    return np.stack([_oks(found, person, sigmas) for person in people], axis=1)


def _oks(
    found: Float[np.ndarray, "D K3"], person: dict[str, Any], sigmas: np.ndarray
) -> Float[np.ndarray, " D"]:
    """OKS of poses to a person; the steps of pycocotools, whose rounding they keep."""
    x_found, y_found = found[:, 0::3], found[:, 1::3]
    truth = np.array(person["keypoints"], np.float64)
    labelled = truth[2::3] > 0
    if labelled.any():
        dx, dy = x_found - truth[0::3], y_found - truth[1::3]
    else:
        # How far outside of a box of thrice the size.
        x, y, width, height = map(float, person["bbox"])
        dx = _outside(x_found, x - width, x + width * 2)
        dy = _outside(y_found, y - height, y + height * 2)
    squares = (dx**2 + dy**2) / (sigmas * 2) ** 2
    error = squares / (person["area"] + np.spacing(1)) / 2
    if labelled.any():
        # Rows next to each other: the order of a sum depends on it.
        error = np.compress(labelled, error, axis=1)
    return np.sum(np.exp(-error), axis=1) / error.shape[1]


def _outside(
    found: Float[np.ndarray, "D K"], low: float, high: float
) -> Float[np.ndarray, "D K"]:
    return np.maximum(0, low - found) + np.maximum(0, found - high)


Evaluator = Literal["pycocotools", "faster-coco-eval"]


def score_poses(
    truth: dict[str, Any],
    results: Sequence[dict[str, Any]],
    *,
    sigmas: Sequence[float],
    image_ids: Sequence[int],
    thresholds: Sequence[float] | None = None,
    area_ranges: Sequence[tuple[float, float]] | None = None,
    evaluator: Evaluator = "pycocotools",
) -> Any:
    """Match and rank poses; arguments are left unchanged, nothing is printed.

    Annotations and results are checked before. By default thresholds (least OKS of a
    match) are COCO's ten, area ranges (image px^2) COCO's three.

    Returns:
      A `COCOeval` with `eval` (precision and recall by threshold and area) and, of
      pycocotools, `evalImgs` (matches).

    Raises:
      ValueError: if the evaluator is unknown, or not installed.
    """
    coco_class, eval_class = _classes(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        scoring = eval_class(
            # Copies: pycocotools writes into them.
            _indexed(
                coco_class(),
                truth,
                [
                    {name: person[name] for name in ANNOTATION_FIELDS}
                    for person in truth["annotations"]
                ],
            ),
            _indexed(coco_class(), truth, _poses(results)),
            "keypoints",
        )
        scoring.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        scoring.params.imgIds = list(image_ids)
        if thresholds is not None:
            scoring.params.iouThrs = np.asarray(thresholds, np.float64)
        if area_ranges is not None:
            scoring.params.areaRng = [list(limits) for limits in area_ranges]
        scoring.evaluate()
        scoring.accumulate()
    return scoring


def _classes(evaluator: str) -> tuple[Any, Any]:
    if evaluator == "pycocotools":
        return COCO, ArrayEval
    if evaluator != "faster-coco-eval":
        raise ValueError(
            f"got evaluator {evaluator!r:.40}, expected 'pycocotools' or "
            "'faster-coco-eval'"
        )
    try:
        import faster_coco_eval
    except ModuleNotFoundError as error:
        raise ValueError(
            "got no module 'faster_coco_eval', expected it installed: "
            "pip install faster-coco-eval"
        ) from error
    quiet = functools.partial(
        faster_coco_eval.COCOeval_faster, print_function=lambda *_: None
    )
    return faster_coco_eval.COCO, quiet


def mean_where_known(values: Float[np.ndarray, "..."]) -> float | None:
    """Mean of precisions or recalls, without -1 (nobody to find); None if empty."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def _poses(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert results as `COCO.loadRes` does, in a tenth of the time."""
    if not results:
        return []
    points = np.array([result["keypoints"] for result in results], np.float64)
    sides = [np.ptp(points[:, axis::3], axis=1) for axis in (0, 1)]
    return [
        {
            "id": index + 1,
            "image_id": result["image_id"],
            "category_id": result["category_id"],
            # Floats: pycocotools cannot count with integers beyond 64 bits.
            "keypoints": numbers,
            "score": float(result["score"]),
            "area": area,
        }
        for index, (result, numbers, area) in enumerate(
            zip(results, points.tolist(), (sides[0] * sides[1]).tolist(), strict=True)
        )
    ]


def _indexed(
    coco: Any, truth: dict[str, Any], annotations: list[dict[str, Any]]
) -> Any:
    coco.dataset = {
        "images": truth["images"],
        "categories": truth["categories"],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
