"""COCO's average precision of keypoints, through pycocotools."""

import contextlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from logocap_jax import skeletons
from logocap_jax.evaluation.checks import (
    PERSON_FIELDS,
    RESULT_FIELDS,
    check_ground_truth,
    check_results,
)
from logocap_jax.evaluation.results import read_json

# What pycocotools computes for keypoints, in its order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")

_logger = logging.getLogger(__name__)


def load_ground_truth(
    path: Path, *, image_ids: Iterable[int] | None = None
) -> dict[str, Any]:
    """Read annotations and find out now, not after hours, whether they can be scored.

    Args:
      path: a `person_keypoints_*.json`.
      image_ids: the images that will be scored; all if not given.

    Raises:
      ValueError: as `evaluate_coco` does for annotations and images.
    """
    truth = read_json(path)
    num_keypoints = skeletons.COCO.num_keypoints
    check_ground_truth(truth, num_keypoints=num_keypoints, source=str(path))
    _scored_images(truth, image_ids, str(path))
    return truth


def keypoint_category(truth: dict[str, Any]) -> int:
    """The id of the category that has keypoints, which results must carry.

    Raises:
      ValueError: if none has.
    """
    for category in truth["categories"]:
        if category.get("keypoints"):
            return category["id"]
    raise ValueError(
        f"ground truth: got {len(truth['categories'])} categories without keypoints, "
        "expected one with them"
    )


def evaluate_coco(
    ground_truth: Path | dict[str, Any],
    results: Path | list[dict[str, Any]],
    *,
    sigmas: Sequence[float] | None = None,
    image_ids: Iterable[int] | None = None,
) -> dict[str, float | None]:
    """Score COCO keypoint results against COCO keypoint annotations.

    The numbers are pycocotools' own: of each image it takes the 20 poses of best
    score. No results at all, on which it crashes, score 0 and log a warning.

    Args:
      ground_truth: a `person_keypoints_*.json` or its content; image px. Its polygons
        and masks are not read.
      results: a COCO keypoint result file or its content. Other fields than COCO's
        four do not count: the area of a pose is that of the box of its keypoints.
      sigmas: K standard deviations of the OKS; those of COCO if not given.
      image_ids: score only these images; all if not given.

    Returns:
      `METRICS`, each 0..1, or `None` where there is nobody to find (a few images may
      hold no person of medium size).

    Raises:
      ValueError: if annotations or results are damaged (see `checks`), an image id is
        unknown, or the images hold no person with keypoints.
    """
    sigmas = skeletons.COCO.sigmas if sigmas is None else sigmas
    truth_source, truth = _load(ground_truth, "ground truth")
    check_ground_truth(truth, num_keypoints=len(sigmas), source=truth_source)
    scored = _scored_images(truth, image_ids, truth_source)
    result_source, poses = _load(results, "results")
    check_results(poses, truth, num_keypoints=len(sigmas), source=result_source)
    if not poses:
        _logger.warning("%s: no poses at all, so every metric is 0", result_source)
    stats = _pycocotools_stats(truth, poses, sigmas, scored)
    # pycocotools says -1 where there is nobody to find.
    values = [None if stat < 0 else float(stat) for stat in stats]
    return dict(zip(METRICS, values, strict=True))


def _load(content: Any, name: str) -> tuple[str, Any]:
    """Return what to call some content in an error, and the content."""
    if isinstance(content, Path):
        return str(content), read_json(content)
    return name, content


def _scored_images(
    truth: dict[str, Any], image_ids: Iterable[int] | None, source: str
) -> list[int]:
    known = {image["id"] for image in truth["images"]}
    scored = known if image_ids is None else set(image_ids)
    if scored - known:
        raise ValueError(
            f"{source}: got image id {min(scored - known)} to score, expected ids of "
            f"its {len(known)} images"
        )
    counts = [
        person["image_id"] in scored
        and person["num_keypoints"] > 0
        and not person["iscrowd"]
        for person in truth["annotations"]
    ]
    if not any(counts):
        raise ValueError(
            f"{source}: no valid ground truth: got {len(scored)} images to score, "
            "expected a person with labelled keypoints, not a crowd, in one of them"
        )
    return sorted(scored)


def _pycocotools_stats(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    sigmas: Sequence[float],
    image_ids: list[int],
) -> Float[np.ndarray, "10"]:
    # pycocotools writes into what it is given, so it gets copies; and it prints.
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth = _indexed(truth, _copies(truth["annotations"], PERSON_FIELDS))
        coco_results = (
            coco_truth.loadRes(_copies(results, RESULT_FIELDS))
            if results
            else _indexed(truth, [])
        )
        scoring = COCOeval(coco_truth, coco_results, "keypoints")
        scoring.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        scoring.params.imgIds = image_ids
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return scoring.stats


def _indexed(truth: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": truth["images"],
        "categories": truth["categories"],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _copies(
    records: list[dict[str, Any]], fields: tuple[str, ...]
) -> list[dict[str, Any]]:
    return [{field: record[field] for field in fields} for record in records]
