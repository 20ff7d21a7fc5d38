"""Matching and ranking of poses, by pycocotools or by what computes the same."""

import contextlib
import functools
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO

from data_pipeline.read.coco_checks import ANNOTATION_FIELDS
from logocap_jax.evaluation.pycocotools_eval import ArrayEval

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
    """Match and rank poses; arguments are left as they are, nothing is printed.

    Args:
      truth: COCO annotations, checked.
      results: COCO keypoint results, checked.
      sigmas: K standard deviations of the OKS.
      image_ids: images to score.
      thresholds: least OKS of a match; COCO's ten if not given.
      area_ranges: areas of people, image px^2; COCO's three if not given.
      evaluator: the package that computes.

    Returns:
      A `COCOeval` with `eval` (precision and recall by threshold and area) and, of
      pycocotools, `evalImgs` (matches).

    Raises:
      ValueError: if there is no such evaluator, or it is not installed.
    """
    coco_class, eval_class = _classes(evaluator)
    with contextlib.redirect_stdout(io.StringIO()):
        scoring = eval_class(
            _indexed(coco_class(), truth, _people(truth)),
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
    """Mean of precisions or recalls; None where pycocotools finds nobody to find.

    Args:
      values: of `eval`, any part of them: -1 where nobody is to be found.
    """
    known = values[values > -1]
    return float(np.mean(known)) if known.size else None


def _people(truth: dict[str, Any]) -> list[dict[str, Any]]:
    # pycocotools writes into them.
    return [{name: a[name] for name in ANNOTATION_FIELDS} for a in truth["annotations"]]


def _poses(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `COCO.loadRes` makes of results, in a tenth of the time."""
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
