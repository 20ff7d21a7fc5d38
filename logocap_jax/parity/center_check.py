"""Centers against the reference's, whatever the order of ties."""

import numpy as np
from jaxtyping import Float, Int

from logocap_jax.parity.compare import Comparison, finite_max
from logocap_jax.parity.dense_arrays import values_at
from logocap_jax.parity.inference_stages import InferenceStages

_VALUES = 1e-5  # of the largest


def check_centers(
    compare: Comparison,
    expected: Float[np.ndarray, "n 3"],
    stages: InferenceStages,
    center_map: Float[np.ndarray, "H W"],
    noisy: Float[np.ndarray, "H W"],
    *,
    fed_with: str,
) -> Float[np.ndarray, "N 2"]:
    """Compare the centers that a map holds, and their values.

    Args:
      compare: takes the results.
      expected: the reference's `(x, y, value)`, input px.
      stages: of the model.
      center_map: centre heatmap in input px.
      noisy: that map from an input that was changed by one rounding step.
      fed_with: as in `StageResult`.

    Returns:
      Centers of all slots, in the reference's order.
    """
    config = stages.config
    centers, values = (np.asarray(x) for x in stages.centers(center_map))
    slots = np.arange(config.num_slots)
    noise = float(np.abs(noisy - center_map).max())
    slots[: len(expected)] = match_centers(centers, values, expected, noise=noise)
    centers, values = centers[slots], values[slots]
    # The reference's list ends where values fall below the threshold.
    count = int(np.sum(values >= config.center_threshold))
    compare.absolute(
        "centers", centers[:count], expected[:, :2], tolerance=0.0, fed_with=fed_with
    )
    compare.relative(
        "centre values",
        values[:count],
        expected[:, 2],
        tolerance=_VALUES,
        fed_with=fed_with,
        noisy=values_at(noisy, centers)[:count],
    )
    return centers


def match_centers(
    centers: Float[np.ndarray, "N 2"],
    values: Float[np.ndarray, " N"],
    expected: Float[np.ndarray, "n 3"],
    *,
    tie: float = 1e-6,
    noise: float = 0.0,
) -> Int[np.ndarray, " n"]:
    """For each center of the reference its row among ours.

    The order of centers whose values tie is arbitrary (upsampling doubles the pixels
    at a border, so ties are common there); all others must be in the same order.

    Args:
      centers: ours, best first; more than the reference's, so that a tie that the
        number of slots cuts in two is whole here.
      values: their values.
      expected: the reference's `(x, y, value)`.
      tie: values tie within this share of the largest one (float noise) ...
      noise: ... or within this much, where the model amplifies that noise.

    Returns:
      Row numbers; a center that is absent or out of order gets its own row number.
    """
    rows = np.arange(len(expected))
    margin = max(noise, tie * finite_max(np.abs(values)))
    for i, (x, y, _) in enumerate(expected):
        same = (centers == (x, y)).all(axis=1) & (np.abs(values - values[i]) <= margin)
        if same.any():
            rows[i] = np.argmax(same)
    return rows
