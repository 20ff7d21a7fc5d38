"""CrowdPose's average precision: COCO's, and by how crowded images are."""

from collections.abc import Iterable
from typing import Any

from data_pipeline.read.coco_checks import with_area
from data_pipeline.read.layouts import CROWDPOSE_AREA_OF_BOX
from logocap_jax import skeletons
from logocap_jax.evaluation.checks import (
    GroundTruth,
    Results,
    load_results,
    load_truth,
)
from logocap_jax.evaluation.matching import mean_where_known, score_poses

# Metrics of the official evaluation, crowdposetools; in its order.
METRICS = (
    *("AP", "AP50", "AP75", "AR", "AR50", "AR75"),
    *("AP_easy", "AP_medium", "AP_hard"),
)
# Its split by crowd index.
EASY_BELOW, HARD_FROM = 0.2, 0.8

_ALL_SIZES = ((0.0, 1e10),)


def evaluate_crowdpose(
    ground_truth: GroundTruth,
    results: Results,
    *,
    easy_below: float = EASY_BELOW,
    hard_from: float = HARD_FROM,
    image_ids: Iterable[int] | None = None,
) -> dict[str, float | None]:
    """Score keypoint results against CrowdPose's annotations, as crowdposetools does.

    OKS with the sigmas of `skeletons.CROWDPOSE`, and `CROWDPOSE_AREA_OF_BOX` of a
    person's box as its area; of each image the 20 best-scored poses count. AP by
    crowdedness is rounded to four digits, as theirs is. Arguments and results are those
    of `evaluate_coco`, but for the `METRICS`, the crowd index below which images are
    easy, and the one from which they are hard.

    Raises:
      ValueError: if annotations or results are damaged (see `checks`), an image has no
        crowd index, is unknown, or the images hold no person with keypoints; or if
        `easy_below` exceeds `hard_from`.
      OSError: if a file is missing.
    """
    check_thresholds(easy_below, hard_from)
    skeleton = skeletons.CROWDPOSE
    source, truth, scored = load_truth(
        ground_truth,
        image_ids,
        num_keypoints=skeleton.num_keypoints,
        change=with_areas,
    )
    crowd_index = _crowd_indices(truth, source)
    poses = load_results(results, truth, num_keypoints=skeleton.num_keypoints)
    by_crowd: dict[str, list[int]] = {"easy": [], "medium": [], "hard": []}
    for image in scored:
        index = crowd_index[image]
        name = "medium" if index < hard_from else "hard"
        by_crowd["easy" if index < easy_below else name].append(image)

    def scores_of(images: list[int]) -> dict[str, Any]:
        return score_poses(
            truth,
            poses,
            sigmas=skeleton.sigmas,
            image_ids=images,
            area_ranges=_ALL_SIZES,
        ).eval

    overall = scores_of(scored)
    # Over all thresholds, at 0.5 and at 0.75.
    at = (slice(None), slice(0, 1), slice(5, 6))
    values = [
        mean_where_known(overall[name][t])
        for name in ("precision", "recall")
        for t in at
    ]
    for images in by_crowd.values():
        mean = mean_where_known(scores_of(images)["precision"]) if images else None
        values.append(None if mean is None else round(mean, 4))
    return dict(zip(METRICS, values, strict=True))


def check_thresholds(easy_below: float, hard_from: float) -> None:
    """Check the thresholds of crowd indices.

    Raises:
      ValueError: if they are not in order, or outside 0..1.
    """
    if not 0 <= easy_below <= hard_from <= 1:
        raise ValueError(
            f"got easy_below={easy_below}, hard_from={hard_from}, expected crowd "
            "indices 0 <= easy_below <= hard_from <= 1"
        )


def with_areas(truth: Any) -> Any:
    """Copy annotations with areas as CrowdPose's evaluation takes them.

    Malformed parts stay so, for `check_ground_truth` to report.
    """
    people = truth.get("annotations") if isinstance(truth, dict) else None
    if not isinstance(people, list):
        return truth
    areas = [with_area(person, CROWDPOSE_AREA_OF_BOX) for person in people]
    return {**truth, "annotations": areas}


def _crowd_indices(truth: dict[str, Any], source: str) -> dict[int, float]:
    indices = {}
    for image in truth["images"]:
        index = image.get("crowdIndex")
        if type(index) not in (int, float) or not 0 <= index <= 1:
            raise ValueError(
                f"{source}: image {image['id']}: got crowdIndex {index!r:.40}, "
                "expected 0 to 1, as in CrowdPose's own files"
            )
        indices[image["id"]] = index
    return indices
