"""Minimum-cost assignment, with ties broken as `munkres` 1.1.4 breaks them.

Specification: `../shared/siblings/centergroup/spec.md`, 4. Costs are float64, as all
that is added to them: which optimum is found depends on their rounding. Devices without
IEEE's float64 (TPUs) may break ties another way.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float64, Int

NONE = -1


class _State(NamedTuple):
    """Of the search; rows and columns that are not in use are always covered.

    Attributes:
      costs: reduced.
      star: the column of each row's star.
      prime: the column of each row's prime.
      row_covered: no zero is looked for in these rows.
      column_covered: nor in these columns.
      start: row and column that the next search for a zero starts from.
    """

    costs: Float64[Array, "n n"]
    star: Int[Array, " n"]
    prime: Int[Array, " n"]
    row_covered: Bool[Array, " n"]
    column_covered: Bool[Array, " n"]
    start: Int[Array, "2"]


def assign(costs: Float64[Array, "n n"], size: Int[Array, ""]) -> Int[Array, " n"]:
    """The column that each row is assigned to.

    To be traced where JAX has 64 bits.

    Args:
      costs: finite; of the rows and columns from `size` on, arbitrary.
      size: number of rows, and of columns, in use.

    Returns:
      Columns; of rows that are not in use, `NONE`.
    """
    used = _places(costs.shape[0]) < size
    start = jnp.zeros(2, jnp.int32)
    costs = costs - jnp.min(costs, axis=1, where=used, initial=jnp.inf, keepdims=True)
    star = _first_stars(costs, used)
    none = jnp.full_like(star, NONE)
    covered = _starred_columns(star) | ~used
    state = _State(costs, star, none, ~used, covered, start)

    def is_open(state: _State) -> Array:
        return _count(state.star >= 0) < size

    return lax.while_loop(is_open, lambda state: _step(state, used), state).star


def _first_stars(
    costs: Float64[Array, "n n"], used: Bool[Array, " n"]
) -> Int[Array, " n"]:
    """Row by row star the first zero whose column has no star."""

    def scan(starred: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        values, in_use = row
        zeros = (values == 0) & ~starred & used & in_use
        column = _first(zeros)
        return starred | (_places(len(used)) == column), column

    return lax.scan(scan, jnp.zeros_like(used), (costs, used))[1]


def _starred_columns(star: Int[Array, " n"]) -> Bool[Array, " n"]:
    return jnp.any(star[:, None] == _places(len(star)), axis=0)


# Where JAX has 64 bits, its own functions return integers of as many.


def _places(count: int) -> Int[Array, " {count}"]:
    return jnp.arange(count, dtype=jnp.int32)


def _count(mask: Bool[Array, " n"]) -> Int[Array, ""]:
    return jnp.sum(mask, dtype=jnp.int32)


def _first(mask: Bool[Array, " n"]) -> Int[Array, ""]:
    """The first place that is set; `NONE`: none is."""
    return jnp.where(jnp.any(mask), lax.argmax(mask, 0, jnp.int32), jnp.int32(NONE))


def _step(state: _State, used: Bool[Array, " n"]) -> _State:
    """Look for an uncovered zero: none, or in a row with or without a star."""
    row, column, found = _find_zero(state, _count(used))
    primed = state._replace(prime=state.prime.at[row].set(column))
    star = state.star[row]
    covered = primed._replace(
        row_covered=state.row_covered.at[row].set(True),
        column_covered=state.column_covered.at[star].set(False),
        start=jnp.stack([row, star]),
    )
    case = found * jnp.where(star >= 0, jnp.int32(1), jnp.int32(2))
    # All are computed under `vmap`; only a path from an unstarred prime has an end.
    augmented = _augment(primed, jnp.where(case == 2, row, jnp.int32(NONE)), used)
    choices = (_shift(state), covered, augmented)
    return jax.tree.map(lambda *x: lax.select_n(case, *x), *choices)


def _find_zero(state: _State, size: Array) -> tuple[Array, Array, Array]:
    """The first row, from the start on, with an uncovered zero, and its last one."""
    zeros = (state.costs == 0) & ~state.row_covered[:, None] & ~state.column_covered
    has_zero = jnp.any(zeros, axis=1)
    after = (_places(len(has_zero))[:, None] - state.start) % size
    row = lax.argmin(jnp.where(has_zero, after[:, 0], size), 0, jnp.int32)
    column = lax.argmax(jnp.where(zeros[row], after[:, 1], NONE), 0, jnp.int32)
    return row, column, jnp.any(has_zero)


def _shift(state: _State) -> _State:
    """Make a new zero: the smallest uncovered cost goes from columns to rows.

    It is added first, and subtracted again where a cell loses it: the order counts.
    """
    rows, columns = state.row_covered[:, None], state.column_covered[None]
    smallest = jnp.min(state.costs, where=~rows & ~columns, initial=jnp.inf)
    costs = jnp.where(rows, state.costs + smallest, state.costs)
    costs = jnp.where(columns, costs, costs - smallest)
    return state._replace(costs=costs, start=jnp.zeros_like(state.start))


def _augment(state: _State, row: Array, used: Bool[Array, " n"]) -> _State:
    """Exchange stars and primes along the path from a prime; clear the covers."""

    def follow(path: tuple[Array, Array]) -> tuple[Array, Array]:
        star, row = path
        column = state.prime[row]
        return star.at[row].set(column), _first(star == column)

    # A row without a star takes its prime; who had that column takes its own prime.
    star, _ = lax.while_loop(lambda path: path[1] >= 0, follow, (state.star, row))
    return _State(
        costs=state.costs,
        star=star,
        prime=jnp.full_like(state.prime, NONE),
        row_covered=~used,
        column_covered=_starred_columns(star) | ~used,
        start=jnp.zeros_like(state.start),
    )
