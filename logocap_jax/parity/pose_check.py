"""Poses before and after pose NMS against the reference's."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from logocap_jax.inference.pose_nms import suppress
from logocap_jax.inference.rescale import to_image
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import Poses

_SCORES = 1e-5  # of the largest

_suppress = jax.jit(lambda poses: suppress(poses)[0])


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
      poses: before NMS, slot by slot in the reference's order.
      image_to_input: the transform to undo.
      fed_with: as in `StageResult`.
      noisy: see `Comparison.relative`.
    """
    kept = _suppress(poses)
    valid = np.asarray(kept.valid)
    inverse = np.linalg.inv(np.vstack([image_to_input, [0, 0, 1]]))[:2]
    keypoints = to_image(np.asarray(kept.keypoints)[valid], inverse.astype(np.float32))
    compare.keypoints(
        "final keypoints",
        keypoints,
        arrays["final_keypoints"],
        fed_with=fed_with,
        unit=float(np.sqrt(np.linalg.det(image_to_input[:, :2]))),
    )
    noisy_kept = None if noisy is None else _suppress(noisy)
    compare.relative(
        "final scores",
        np.asarray(kept.scores)[valid],
        arrays["final_scores"],
        tolerance=_SCORES,
        fed_with=fed_with,
        noisy=None if noisy_kept is None else np.asarray(noisy_kept.scores)[valid],
    )


def check_final_alone(
    compare: Comparison,
    arrays: Arrays,
    image_to_input: Float[np.ndarray, "2 3"],
    num_slots: int,
) -> None:
    """As `check_final`, from the reference's own poses before NMS.

    Args:
      compare: takes the results.
      arrays: of the case.
      image_to_input: ours, for a case without `affine`.
      num_slots: N, slots to fill.
    """
    count = len(arrays["scores"])
    fill = (0, num_slots - count)
    keypoints = np.pad(arrays["poses"], (fill, (0, 0), (0, 0)))
    poses = Poses(
        jnp.asarray(keypoints[..., :2]),
        jnp.asarray(keypoints[..., 2]),
        jnp.asarray(np.pad(arrays["scores"], fill)),
        jnp.arange(num_slots) < count,
    )
    given = arrays.get("affine", image_to_input)[:2].astype(np.float64)
    check_final(compare, arrays, poses, given, fed_with="poses, scores")
