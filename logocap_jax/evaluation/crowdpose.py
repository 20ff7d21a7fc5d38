"""CrowdPose's average precision: COCO's, and by how crowded images are."""

from collections.abc import Iterable, Mapping
from typing import Any

from data_pipeline.read.coco_checks import with_area
from data_pipeline.read.layouts import CROWDPOSE_AREA_OF_BOX
from logocap_jax import skeletons
from logocap_jax.evaluation.checks import check_ground_truth
from logocap_jax.evaluation.inputs import (
    GroundTruth,
    Results,
    images_to_score,
    load,
    load_results,
)
from logocap_jax.evaluation.matching import mean_where_known, score_poses

# What the official evaluation reports, crowdposetools; in its order.
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
    """Score keypoint results against CrowdPose's annotations.

    As crowdposetools does: OKS with the sigmas of `skeletons.CROWDPOSE` and with
    `CROWDPOSE_AREA_OF_BOX` of a person's box as its area; of each image the 20
    best-scored poses count. AP by crowdedness is rounded to four digits, as theirs is.

    Args:
      ground_truth: a `crowdpose_*.json` or its content; image px.
      results: a COCO keypoint result file or its content.
      easy_below: images of a smaller crowd index are easy.
      hard_from: images of this crowd index or more are hard.
      image_ids: score only these images; all if not given.

    Returns:
      `METRICS`, each 0..1, or `None` where there is nobody to find.

    Raises:
      ValueError: if annotations or results are damaged (see `checks`), an image has no
        crowd index, is unknown, or the images hold no person with keypoints; or if
        `easy_below` exceeds `hard_from`.
      OSError: if a file is not there.
    """
    check_thresholds(easy_below, hard_from)
    skeleton = skeletons.CROWDPOSE
    source, truth = load(ground_truth, "ground truth")
    truth = with_areas(truth)
    truth = check_ground_truth(
        truth, num_keypoints=skeleton.num_keypoints, source=source
    )
    scored = images_to_score(truth, image_ids, source)
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

    values = _precision_and_recall(scores_of(scored))
    for images in by_crowd.values():
        mean = mean_where_known(scores_of(images)["precision"]) if images else None
        values.append(None if mean is None else round(mean, 4))
    return dict(zip(METRICS, values, strict=True))


def check_thresholds(easy_below: float, hard_from: float) -> None:
    """Check what splits images by their crowd index.

    Raises:
      ValueError: if it does not.
    """
    if not 0 <= easy_below <= hard_from <= 1:
        raise ValueError(
            f"got easy_below={easy_below}, hard_from={hard_from}, expected crowd "
            "indices 0 <= easy_below <= hard_from <= 1"
        )


def describe_crowd_index(
    easy_below: float = EASY_BELOW, hard_from: float = HARD_FROM
) -> str:
    """What `AP_easy`, `AP_medium`, `AP_hard` stand for, in one line."""
    return f"crowd index: easy < {easy_below} <= medium < {hard_from} <= hard"


def with_areas(truth: Any) -> Any:
    """Annotations with areas as CrowdPose's evaluation takes them; a changed copy.

    Unsound records stay as they are, for `check_ground_truth` to report.

    Args:
      truth: parsed content of a `crowdpose_*.json`.
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


def _precision_and_recall(scores: Mapping[str, Any]) -> list[float | None]:
    """Over all thresholds, at 0.5 and at 0.75."""
    at = (slice(None), slice(0, 1), slice(5, 6))
    return [
        mean_where_known(scores[name][t])
        for name in ("precision", "recall")
        for t in at
    ]
