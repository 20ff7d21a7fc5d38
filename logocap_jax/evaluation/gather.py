"""Poses of all processes, on each of them."""

import numpy as np

from logocap_jax.evaluation.results import ImagePoses
from logocap_jax.processes import gather_rows


def gather_images(images: list[ImagePoses]) -> list[ImagePoses]:
    """The images of all processes, process by process, with exactly their numbers.

    Args:
      images: this process's; at least one, as every process has a share of each batch.
    """
    ids = gather_rows(np.array([image.image_id for image in images], np.int64))
    counts = gather_rows(np.array([len(image.scores) for image in images], np.int64))
    keypoints, keypoint_scores, scores = (
        gather_rows(np.concatenate([getattr(image, name) for image in images]))
        for name in ("keypoints", "keypoint_scores", "scores")
    )
    known = [x for image in images if (x := image.initial_keypoints) is not None]
    initial = gather_rows(np.concatenate(known)) if known else None
    gathered = []
    for number, count, end in zip(ids, counts, np.cumsum(counts), strict=True):
        rows = slice(end - count, end)
        gathered.append(
            ImagePoses(
                int(number),
                *(keypoints[rows], keypoint_scores[rows], scores[rows]),
                None if initial is None else initial[rows],
            )
        )
    return gathered
