"""Poses before and after pose NMS against the reference's."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax.evaluation.results import to_image
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import Poses

_SCORES = 1e-5  # of the largest


def check_poses(
    compare: Comparison,
    arrays: Arrays,
    poses: Poses,
    *,
    fed_with: str,
    noisy: Poses | None = None,
) -> None:
    """Compare poses before NMS.

    Args:
      compare: takes the results.
      arrays: of the case.
      poses: ours, slot by slot in the reference's order.
      fed_with: as in `StageResult`.
      noisy: see `Comparison.relative`.
    """
    valid = np.asarray(poses.valid)
    keypoints, scores = arrays["poses"], arrays["scores"]
    found = np.asarray(poses.keypoints)[valid]
    compare.keypoints("poses", found, keypoints, fed_with=fed_with)
    for stage, field, expected in (
        ("keypoint scores", "keypoint_scores", keypoints[..., 2]),
        ("scores", "scores", scores),
    ):
        compare.relative(
            stage,
            np.asarray(getattr(poses, field))[valid],
            expected,
            tolerance=_SCORES,
            fed_with=fed_with,
            noisy=None if noisy is None else np.asarray(getattr(noisy, field))[valid],
        )


def check_final(
    compare: Comparison,
    arrays: Arrays,
    poses: Poses,
    image_to_input: Float[np.ndarray, "2 3"],
    *,
    fed_with: str = "image",
    noisy: Poses | None = None,
) -> None:
    """Compare poses after NMS, in original pixels; distances count in input px.

    Args:
      compare: takes the results.
      arrays: of the case.
      poses: ours, after NMS.
      image_to_input: the transform to undo.
      fed_with: as in `StageResult`.
      noisy: see `Comparison.relative`.
    """
    valid = np.asarray(poses.valid)
    inverse = np.linalg.inv(np.vstack([image_to_input, [0, 0, 1]]))[:2]
    keypoints = to_image(np.asarray(poses.keypoints)[valid], inverse.astype(np.float32))
    compare.keypoints(
        "final keypoints",
        keypoints,
        arrays["final_keypoints"],
        fed_with=fed_with,
        unit=float(np.sqrt(np.linalg.det(image_to_input[:, :2]))),
    )
    compare.relative(
        "final scores",
        np.asarray(poses.scores)[valid],
        arrays["final_scores"],
        tolerance=_SCORES,
        fed_with=fed_with,
        noisy=None if noisy is None else np.asarray(noisy.scores)[valid],
    )


def reference_poses(arrays: Arrays, num_slots: int) -> Poses:
    """The reference's own poses before NMS, in `num_slots` slots."""
    count = len(arrays["scores"])
    fill = (0, num_slots - count)
    keypoints = np.pad(arrays["poses"], (fill, (0, 0), (0, 0)))
    return Poses(
        jnp.asarray(keypoints[..., :2]),
        jnp.asarray(keypoints[..., 2]),
        jnp.asarray(np.pad(arrays["scores"], fill)),
        jnp.arange(num_slots) < count,
    )
