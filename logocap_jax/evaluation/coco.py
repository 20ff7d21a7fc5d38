"""COCO's average precision of keypoints, through pycocotools."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

from data_pipeline.read import coco_checks
from logocap_jax import skeletons
from logocap_jax.evaluation.checks import (
    GroundTruth,
    Results,
    load_results,
    load_truth,
)
from logocap_jax.evaluation.crowdpose import with_areas
from logocap_jax.evaluation.matching import Evaluator, score_poses
from logocap_jax.skeletons import Skeleton

# pycocotools' metrics of keypoints, in its order.
METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def load_ground_truth(
    ground_truth: GroundTruth,
    *,
    skeleton: Skeleton = skeletons.COCO,
    image_ids: Iterable[int] | None = None,
) -> dict[str, Any]:
    """Read annotations, and find out now, not after hours, if they can be scored.

    People of CrowdPose get areas. Without `image_ids` all images count.

    Raises:
      ValueError: as `evaluate_coco` does for annotations and images.
    """
    _, truth, _ = load_truth(
        ground_truth,
        image_ids,
        num_keypoints=skeleton.num_keypoints,
        change=with_areas if skeleton == skeletons.CROWDPOSE else lambda truth: truth,
    )
    return truth


def keypoint_category(truth: dict[str, Any]) -> int:
    """Id of the one category with keypoints, which results must carry.

    Raises:
      ValueError: unless exactly one has keypoints.
    """
    return coco_checks.keypoint_category(truth["categories"], "ground truth")["id"]


def evaluate_coco(
    ground_truth: GroundTruth,
    results: Results,
    *,
    sigmas: Sequence[float] | None = None,
    image_ids: Iterable[int] | None = None,
    evaluator: Evaluator = "pycocotools",
) -> dict[str, float | None]:
    """Score COCO keypoint results against COCO keypoint annotations.

    The numbers are pycocotools' own: of each image it takes the 20 poses of best
    score. No results at all, on which it crashes, score 0 and log a warning; as a file
    they are an error.

    Args:
      ground_truth: a `person_keypoints_*.json` or its content; image px. Its polygons
        and masks are not read.
      results: a COCO keypoint result file or its content. Other fields than COCO's
        four do not count: the area of a pose is that of the box of its keypoints.
      sigmas: K standard deviations of the OKS; those of COCO if not given.
      image_ids: score only these images; all if not given.
      evaluator: faster-coco-eval, if installed, gives the same numbers sooner, up to
        the rounding of the last bit.

    Returns:
      `METRICS`, each 0..1, or `None` where there is nobody to find (a few images may
      hold no person of medium size).

    Raises:
      ValueError: if annotations or results are damaged (see `checks`), an image id is
        unknown, the images hold no person with keypoints, or the evaluator is not
        installed.
      OSError: if a file is missing.
    """
    sigmas = skeletons.COCO.sigmas if sigmas is None else sigmas
    _, truth, scored = load_truth(ground_truth, image_ids, num_keypoints=len(sigmas))
    poses = load_results(results, truth, num_keypoints=len(sigmas))
    scoring = score_poses(
        truth, poses, sigmas=sigmas, image_ids=scored, evaluator=evaluator
    )
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.summarize()
    # pycocotools says -1 where there is nobody to find.
    values = [None if stat < 0 else float(stat) for stat in scoring.stats]
    return dict(zip(METRICS, values, strict=True))
