"""Comparison of centers with the reference's; ties may have any order."""

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.parity.compare import Comparison, finite_max

_VALUES = 1e-5  # of the largest
_WIDEST = 10  # times as much, where the model amplifies noise


class CenterFinder(Protocol):
    """The part of `InferenceStages` that finds centers."""

    config: LogoCapConfig

    def centers(
        self, center_map: Float[np.ndarray, "H W"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and values of twice as many centers as there are slots."""
        ...


class Matched(NamedTuple):
    """Our centers in the reference's order.

    Attributes:
      rows: for each center of the reference its row among ours; a center that is
        absent or out of order has its own row number.
      tied: the reference's peak ties with another cell of its own map, which is ours.
      extra: rows of ours that are such another cell, whose peak the reference lists
        once.
    """

    rows: Int[np.ndarray, " n"]
    tied: Bool[np.ndarray, " n"]
    extra: list[int]

    @property
    def ties(self) -> int:
        """How many peaks tie."""
        return int(self.tied.sum()) + len(self.extra)


def check_centers(
    compare: Comparison,
    expected: Float[np.ndarray, "n 3"],
    stages: CenterFinder,
    center_map: Float[np.ndarray, "H W"],
    noisy: Float[np.ndarray, "H W"],
    *,
    reference: Float[np.ndarray, "H W"],
    fed_with: str,
) -> Float[np.ndarray, "N 2"]:
    """Compare the centers that a map holds, and their values.

    Where a peak ties, the reference's cell replaces ours; that is reported, and no
    failure.

    Args:
      compare: takes the results.
      expected: the reference's `(x, y, value)`, input px.
      stages: of the model.
      center_map: centre heatmap in input px.
      noisy: that map from an input that was changed by one rounding step.
      reference: the reference's own map.
      fed_with: as in `StageResult`.

    Returns:
      Centers of all slots, in the reference's order.
    """
    config, given = stages.config, len(expected)
    centers, values = (np.array(x) for x in stages.centers(center_map))
    noise = float(np.abs(noisy - center_map).max())
    matched = match_centers(centers, values, expected, reference, noise=noise)
    # The reference's list ends where values fall below the threshold.
    ours = np.flatnonzero(values[: config.num_slots] >= config.center_threshold)
    more = set(ours.tolist()) - {*matched.rows.tolist(), *matched.extra}
    slots = np.arange(config.num_slots)
    slots[:given] = matched.rows
    centers, values = centers[slots], values[slots]
    tied = np.flatnonzero(matched.tied)
    centers[tied] = expected[tied, :2]
    values[tied] = values_at(center_map, centers[tied])
    count = int(np.sum(values[:given] >= config.center_threshold)) + len(more)
    count = min(count, config.num_slots)
    compare.absolute(
        "centers",
        centers[:count],
        expected[:, :2],
        tolerance=0.0,
        fed_with=fed_with,
        ties=matched.ties,
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


def in_order(
    centers: Float[np.ndarray, "M 2"],
    values: Float[np.ndarray, " M"],
    expected: Float[np.ndarray, "N 3"],
    center_map: Float[np.ndarray, "H W"],
    reference: Float[np.ndarray, "H W"] | None,
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, " N"], int]:
    """Our centers and values of as many slots in the reference's order, and ties.

    Args:
      centers: ours, best first; more than there are slots.
      values: their values.
      expected: the reference's `(x, y, value)`; of the last ones the value may be 0,
        and the place then is arbitrary.
      center_map: our map in input px.
      reference: the reference's own map, if there is one.
    """
    real = expected[expected[:, 2] > 0]
    matched = match_centers(centers, values, real, reference)
    rows = np.arange(len(expected))
    rows[: len(real)] = matched.rows
    centers, values = centers[rows], values[rows]
    tied = np.flatnonzero(matched.tied)
    centers[tied] = real[tied, :2]
    values[tied] = values_at(center_map, centers[tied])
    return centers, values, matched.ties


def match_centers(
    centers: Float[np.ndarray, "N 2"],
    values: Float[np.ndarray, " N"],
    expected: Float[np.ndarray, "n 3"],
    reference: Float[np.ndarray, "H W"] | None = None,
    *,
    tie: float = 1e-6,
    noise: float = 0.0,
) -> Matched:
    """For each center of the reference its row among ours.

    The order of centers whose values tie is arbitrary (upsampling doubles the pixels
    at a border, so ties are common there); all others must be in the same order. So is
    the cell of a peak, where neighbouring cells of the reference's own map differ by
    less than the tolerance of a centre's value.

    Args:
      centers: ours, best first; more than the reference's, so that a tie that the
        number of slots cuts in two is whole here.
      values: their values.
      expected: the reference's `(x, y, value)`.
      reference: the reference's own map; None: a peak's cell is not arbitrary.
      tie: values tie within this share of the largest one (float noise) ...
      noise: ... or within this much, where the model amplifies that noise.
    """
    count, largest = len(expected), finite_max(np.abs(values))
    rows, tied = np.arange(count), np.zeros(count, bool)
    margin = max(noise, tie * largest)
    for i, (x, y, _) in enumerate(expected):
        same = (centers == (x, y)).all(axis=1) & (np.abs(values - values[i]) <= margin)
        if same.any():
            rows[i] = np.argmax(same)
    extra: list[int] = []
    limit = _VALUES * largest
    limit = max(limit, min(2 * noise, _WIDEST * limit))
    descending = (np.diff(expected[:, 2]) <= limit).all()
    if reference is not None and descending:
        _match_tied(centers, values, expected, reference, limit, (rows, tied, extra))
    return Matched(rows, tied, extra)


def _match_tied(
    centers: Float[np.ndarray, "N 2"],
    values: Float[np.ndarray, " N"],
    expected: Float[np.ndarray, "n 3"],
    reference: Float[np.ndarray, "H W"],
    limit: float,
    matched: tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"], list[int]],
) -> None:
    """Match what `matched`, of `Matched`, lacks, by peaks that tie within `limit`."""
    rows, tied, extra = matched
    row_at = {_cell(center): row for row, center in reversed([*enumerate(centers)])}
    wanted = {_cell(center) for center in expected}
    for i, center in enumerate(expected):
        row = row_at.get(_cell(center))
        if (centers[rows[i]] == center[:2]).all():
            continue
        if row is not None and abs(values[row] - center[2]) <= limit:
            tied[i] = (rows[:i] > row).any()
            rows[i] = row
        for cell in _tied_cells(reference, _cell(center), limit) & row_at.keys():
            if row is None:
                rows[i], tied[i] = row_at[cell], True
    for row in sorted(set(range(max(rows, default=-1) + 2)) - set(rows.tolist())):
        cell = _cell(centers[row])
        if cell not in wanted and _tied_cells(reference, cell, limit) & wanted:
            extra.append(row)


def _cell(center: np.ndarray) -> tuple[int, int]:
    return int(center[0]), int(center[1])


def _tied_cells(
    center_map: Float[np.ndarray, "H W"], cell: tuple[int, int], limit: float
) -> set[tuple[int, int]]:
    """The neighbours of a cell whose values are no farther from its own."""
    height, width = center_map.shape
    x, y = cell
    return {
        (x + dx, y + dy)
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        if (dx, dy) != (0, 0)
        and 0 <= x + dx < width
        and 0 <= y + dy < height
        and abs(center_map[y + dy, x + dx] - center_map[y, x]) <= limit
    }


def values_at(
    center_map: Float[np.ndarray, "H W"], centers: Float[np.ndarray, "N 2"]
) -> Float[np.ndarray, " N"]:
    """Values of a map in input px at centers, which lie on its pixels."""
    x, y = centers.astype(int).T
    return center_map[y, x]
