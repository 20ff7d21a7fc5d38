"""The steps of `munkres` 1.1.4, one cell after the other (specification, 4)."""

import numpy as np

NONE = -1


def assign(costs: np.ndarray) -> list[int]:
    """The column of each row of a square matrix, float64."""
    costs = costs.astype(np.float64)
    size = len(costs)
    costs = costs - costs.min(axis=1, keepdims=True)
    star, prime = [NONE] * size, [NONE] * size
    for row in range(size):
        for column in range(size):
            if costs[row, column] == 0 and column not in star:
                star[row] = column
                break
    while NONE in star:
        rows, columns = set(), {column for column in star if column != NONE}
        start = (0, 0)
        while True:
            found = _find_zero(costs, rows, columns, start)
            if found is None:
                _shift(costs, rows, columns)
                start = (0, 0)
                continue
            row, column = found
            prime[row] = column
            if star[row] == NONE:
                break
            rows.add(row)
            columns.discard(star[row])
            start = (row, star[row])
        while row != NONE:
            column = prime[row]
            other = star.index(column) if column in star else NONE
            star[row] = column
            row = other
        prime = [NONE] * size
    return star


def _find_zero(costs, rows, columns, start):
    size = len(costs)
    for i in range(size):
        row = (start[0] + i) % size
        last = None
        for j in range(size):
            column = (start[1] + j) % size
            is_open = row not in rows and column not in columns
            if is_open and costs[row, column] == 0:
                last = (row, column)
        if last:
            return last
    return None


def _shift(costs, rows, columns):
    size = range(len(costs))
    smallest = min(
        costs[row, column]
        for row in size
        for column in size
        if row not in rows and column not in columns
    )
    for row in size:
        for column in size:
            if row in rows:
                costs[row, column] += smallest
            if column not in columns:
                costs[row, column] -= smallest
