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
    fields = [
        gather_rows(np.concatenate([getattr(image, name) for image in images]))
        if getattr(images[0], name) is not None
        else None
        for name in ("keypoints", "keypoint_scores", "scores", "initial_keypoints")
    ]
    ends = np.cumsum(counts)
    return [
        ImagePoses(
            int(number),
            *(None if rows is None else rows[end - count : end] for rows in fields),
        )
        for number, count, end in zip(ids, counts, ends, strict=True)
    ]
