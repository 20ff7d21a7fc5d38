"""Annotations and results to score, from files or as content."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from logocap_jax.evaluation.checks import check_results
from logocap_jax.evaluation.results import read_json

GroundTruth = str | Path | dict[str, Any]
Results = str | Path | list[dict[str, Any]]

_logger = logging.getLogger(__name__)


def load(content: Any, name: str) -> tuple[str, Any]:
    """Return the name of some content in an error, and the content.

    Args:
      content: a JSON file, or its parsed content.
      name: of content that comes from no file.

    Raises:
      ValueError: if a file is not JSON.
      OSError: if there is no such file.
    """
    if isinstance(content, str | Path):
        return str(content), read_json(Path(content))
    return name, content


def load_results(
    results: Results, truth: dict[str, Any], *, num_keypoints: int
) -> list[dict[str, Any]]:
    """Read and check results; an empty list is logged, an empty file is an error.

    Args:
      results: a COCO keypoint result file or its content.
      truth: the annotations to score against, checked.
      num_keypoints: K.

    Raises:
      ValueError: see `checks.check_results`; or if a file holds no results.
      OSError: if there is no such file.
    """
    source, poses = load(results, "results")
    check_results(poses, truth, num_keypoints=num_keypoints, source=source)
    if not poses and not isinstance(results, list):
        raise ValueError(
            f"{source}: got a file without any results, expected some; where nobody "
            "was found in any image, hand over [] to score 0"
        )
    if not poses:
        _logger.warning("%s: no poses at all, so every metric is 0", source)
    return poses


def images_to_score(
    truth: dict[str, Any], image_ids: Iterable[int] | None, source: str
) -> list[int]:
    """The ids of the images to score, ascending.

    Args:
      truth: COCO annotations, checked.
      image_ids: the images wanted; all if not given.
      source: name of the annotations in an error.

    Raises:
      ValueError: if one is unknown, or nobody is in them who could be found.
    """
    listed = {image["id"] for image in truth["images"]}
    scored = listed if image_ids is None else set(image_ids)
    if scored - listed:
        raise ValueError(
            f"{source}: got image id {min(scored - listed)} to score, expected ids of "
            f"its {len(listed)} images"
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
