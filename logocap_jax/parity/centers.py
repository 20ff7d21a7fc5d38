"""Comparison of centers with the reference's; ties may have any order."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from logocap_jax.parity.compare import Comparison, finite_max

_VALUES = 1e-5  # of the largest
_WIDEST = 10  # times as much, where the model amplifies noise


@runtime_checkable
class CenterFinder(Protocol):
    """The part of `InferenceStages` that finds centers."""

    @property
    def config(self) -> Any:
        """Settings, `num_slots` and `center_threshold` among them."""
        ...

    def centers(
        self, center_map: Float[np.ndarray, "H W"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and values of twice as many centers as there are slots."""
        ...


class Ordered(NamedTuple):
    """Our centers in the reference's order.

    Attributes:
      centers: `[N, 2]`; where a peak ties with another cell, which is ours, the
        reference's.
      values: our map there.
      ties: how many peaks tie.
    """

    centers: Float[np.ndarray, "N 2"]
    values: Float[np.ndarray, " N"]
    ties: int


def check_centers(
    compare: Comparison,
    expected: Float[np.ndarray, "n 3"],
    stages: CenterFinder,
    center_map: Float[np.ndarray, "H W"],
    noisy: Float[np.ndarray, "H W"],
    *,
    reference: Float[np.ndarray, "H W"] | None,
    fed_with: str,
) -> Ordered:
    """Compare the centers that a map holds, and their values.

    Where a peak ties, the reference's cell is taken in place of ours; the table notes
    the tie, and it is no failure.

    Args:
      compare: takes the results.
      expected: the reference's `(x, y, value)`, input px.
      stages: of the model.
      center_map: centre heatmap in input px.
      noisy: that map from an input that was changed by one rounding step.
      reference: the reference's own map, if there.
      fed_with: as in `StageResult`.

    Returns:
      Our centers of all slots, in the reference's order.
    """
    config = stages.config
    found = in_order(
        *stages.centers(center_map),
        expected,
        center_map,
        reference,
        slots=config.num_slots,
        noise=float(np.abs(noisy - center_map).max()),
    )
    centers, values, ties = found
    # The reference's list ends where values fall below the threshold.
    count = int(np.sum(values >= config.center_threshold))
    compare.absolute(
        "centers",
        centers[:count],
        expected[:, :2],
        tolerance=0.0,
        fed_with=fed_with,
        ties=ties,
    )
    compare.relative(
        "centre values",
        values[:count],
        expected[:, 2],
        tolerance=_VALUES,
        fed_with=fed_with,
        noisy=values_at(noisy, centers)[:count],
    )
    return found


def in_order(
    centers: Float[np.ndarray, "M 2"],
    values: Float[np.ndarray, " M"],
    expected: Float[np.ndarray, "n 3"],
    center_map: Float[np.ndarray, "H W"],
    reference: Float[np.ndarray, "H W"] | None = None,
    *,
    slots: int,
    tie: float = 1e-6,
    noise: float = 0.0,
) -> Ordered:
    """Our centers in the reference's order of ties.

    The order of centers whose values tie is arbitrary (upsampling doubles the pixels
    at a border, so ties are common there); all others must be in the same order. So is
    the cell of a peak, where neighbouring cells of the reference's own map differ by
    less than the tolerance of a centre's value.

    Args:
      centers: ours, best first; more than there are slots, so that a tie that their
        number cuts in two is whole here.
      values: their values.
      expected: the reference's `(x, y, value)`.
      center_map: our map in input px.
      reference: the reference's own map; None: a peak's cell is not arbitrary.
      slots: N.
      tie: values tie within this share of the largest one (float noise) ...
      noise: ... or within this much, where the model amplifies that noise.

    Returns:
      First ours for each of the reference, then the others of ours. One that is absent
      or out of order has our center of its own rank.
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
    if reference is not None and (np.diff(expected[:, 2]) <= limit).all():
        _match_tied(centers, values, expected, reference, limit, (rows, tied, extra))
    others = [k for k in range(len(centers)) if k not in {*rows.tolist(), *extra}]
    order = np.array([*rows, *others][:slots], int)
    centers, values = centers[order], values[order]
    centers[:count][tied] = expected[tied, :2]
    values[:count][tied] = values_at(center_map, expected[tied, :2])
    # Of a full list the rest was cut off, whatever it is.
    ties = int(tied.sum()) + (len(extra) if count < slots else 0)
    return Ordered(centers, values, ties)


def _match_tied(
    centers: Float[np.ndarray, "N 2"],
    values: Float[np.ndarray, " N"],
    expected: Float[np.ndarray, "n 3"],
    reference: Float[np.ndarray, "H W"],
    limit: float,
    matched: tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"], list[int]],
) -> None:
    """Match the centers that are not yet matched by peaks that tie within `limit`.

    Args:
      centers: ours.
      values: their values.
      expected: the reference's `(x, y, value)`.
      reference: the reference's own map.
      limit: in the map's unit.
      matched: changed in place. For each center of the reference its row among ours;
        whether its cell or its place in the order ties; rows of ours that are another
        cell of a peak, which the reference lists once.
    """
    rows, tied, extra = matched
    row_at = {_cell(center): row for row, center in reversed([*enumerate(centers)])}
    wanted = {_cell(center) for center in expected}
    for i, center in enumerate(expected):
        if (centers[rows[i]] == center[:2]).all():
            continue
        row = row_at.get(_cell(center))
        cells = _tied_cells(reference, _cell(center), limit) & row_at.keys()
        if row is not None and abs(values[row] - center[2]) <= limit:
            rows[i], tied[i] = row, (rows[:i] > row).any()
        elif row is None and cells:
            rows[i], tied[i] = min(row_at[cell] for cell in cells), True
    end = min(max(rows, default=-1) + 2, int(np.sum(values > 0)))
    for row in sorted(set(range(end)) - set(rows.tolist())):
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
