"""Least-squares fit of a Gaussian to the neighbourhood of a pixel.

MINPACK's Levenberg-Marquardt (`lmdif`, as `scipy.optimize.curve_fit` runs it) in a
fixed shape, with its rules for steps and for when to stop: so a fit takes the same way,
and ends at the same place, up to float32. Derivatives are exact, but count as the four
evaluations that finite differences take.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

RADIUS = 6  # of the window, px
_SD = 2.0  # at the start, px
_EVALUATIONS = 300
_TOLERANCE = 1.49012e-8  # of the sum of squares, and of the parameters
_ROUNDING = 3e-7  # a share of the values that float32 hardly resolves
_DWARF = 1.1754944e-38  # float32's least positive number


class Fit(NamedTuple):
    """A fitted Gaussian.

    Attributes:
      center: `(x, y)`, px.
      amplitude: value there.
      converged: False where there was nothing to fit, or no end was found; the rest is
        arbitrary then.
    """

    center: Float[Array, "2"]
    amplitude: Float[Array, ""]
    converged: Bool[Array, ""]


class Window(NamedTuple):
    """The pixels around a middle, one row each.

    Attributes:
      places: `(row, column)` of each, from the middle.
      values: of each.
      inside: pixels to fit; the others are beyond the map's border.
    """

    places: Float[Array, "M 2"]
    values: Float[Array, " M"]
    inside: Bool[Array, " M"]


def fit_gaussian(
    heatmaps: Float[Array, "H W K"],
    channel: Int[Array, ""],
    point: Float[Array, "2"],
    wanted: Bool[Array, ""],
    *,
    valid_size: Int[Array, "2"] | None = None,
    clip: bool = False,
    quirks: str = "reference",
) -> Fit:
    """Fit a Gaussian to a heatmap around a point (specification, 8.4 and 18).

    `A exp(-((row - r0)^2 + (col - q0)^2) / (2 sd^2))` is fitted to the 13 x 13 px
    around the pixel of the point, cut at the border; the start is the value of this
    pixel, its place, and an sd of 2 px.

    Args:
      heatmaps: in input px.
      channel: the heatmap.
      point: `(x, y)`, input px; its pixel is `int(x + 0.5), int(y + 0.5)`, truncated.
      wanted: False: no fit, at no cost.
      valid_size: height and width of the image in the heatmaps; None: all.
      clip: a pixel outside is moved inside, and those at the border are fitted;
        otherwise neither is.
      quirks: `reference`: in a window cut to `R` rows and `C` columns pixel number `n`
        counts as that at row `n // R`, column `n % R`, not at row `n // C`, column
        `n % C`; and without `clip` a pixel up to 6 px before the map's first row or
        column is fitted, with the value at the opposite side as the start. `fixed`: not
        so.
    """
    scrambled = quirks == "reference"
    size = jnp.asarray(heatmaps.shape[:2] if valid_size is None else valid_size)
    pixel = jnp.trunc(point[::-1] + 0.5).astype(jnp.int32)
    if clip:
        pixel = jnp.clip(pixel, 0, size - 1)
    else:
        first = -RADIUS if scrambled else 0
        is_inside = (pixel >= first) & (pixel != 0) & (pixel < size - 1)
        wanted = wanted & jnp.all(is_inside)
    window = _read_window(heatmaps, channel, pixel, size, scrambled=scrambled)
    row, column = pixel % size  # a negative index counts from the end
    state = _minimise(window, heatmaps[row, column, channel], pixel, wanted)
    amplitude, center, _ = jnp.split(state.parameters, (1, 3))
    finite = jnp.all(jnp.isfinite(state.parameters))
    return Fit((center + pixel)[::-1], amplitude[0], wanted & state.converged & finite)


def _read_window(
    heatmaps: Float[Array, "H W K"],
    channel: Int[Array, ""],
    pixel: Int[Array, "2"],
    size: Int[Array, "2"],
    *,
    scrambled: bool,
) -> Window:
    steps = jnp.arange(-RADIUS, RADIUS + 1)
    row, column = pixel[0] + steps[:, None], pixel[1] + steps
    inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    origin = jnp.maximum(pixel - RADIUS, 0)
    values = heatmaps[
        jnp.clip(row, 0, size[0] - 1), jnp.clip(column, 0, size[1] - 1), channel
    ]
    if scrambled:
        rows, columns = jnp.minimum(pixel + RADIUS, size - 1) - origin + 1
        number = (row - origin[0]) * columns + column - origin[1]
        rows = jnp.maximum(rows, 1)  # none: no pixel is inside
        row, column = origin[0] + number // rows, origin[1] + number % rows
    places = jnp.stack(jnp.broadcast_arrays(row, column), axis=-1) - pixel
    return Window(
        places.reshape(-1, 2).astype(jnp.float32), values.ravel(), inside.ravel()
    )


# Count, parameter, its bounds, step, how much it is too long, end of the search.
_Search = tuple[Array, Array, Array, Array, Array, Array, Array]


class _State(NamedTuple):
    """State of a minimisation; names are MINPACK's where it has one.

    Attributes:
      parameters: amplitude, row and column from the middle, standard deviation.
      fresh: the parameters have just moved, so derivatives are due.
      moved: they have moved at all.
      diag: scales of the parameters.
      delta: bound of the step, scaled.
      par: Levenberg-Marquardt parameter.
      evaluations: so far.
      converged: the fit has ended where it should.
      running: it has not ended.
    """

    parameters: Float[Array, "4"]
    fresh: Bool[Array, ""]
    moved: Bool[Array, ""]
    diag: Float[Array, "4"]
    delta: Float[Array, ""]
    par: Float[Array, ""]
    evaluations: Int[Array, ""]
    converged: Bool[Array, ""]
    running: Bool[Array, ""]


def _minimise(
    window: Window,
    amplitude: Float[Array, ""],
    middle: Int[Array, "2"],
    wanted: Bool[Array, ""],
) -> _State:
    """Fit the window; `middle` is its place on the map, which scales the steps."""
    zero, count = jnp.zeros(()), jnp.zeros((), jnp.int32)
    no = jnp.zeros((), bool)
    solvable = jnp.sum(window.inside) >= 4  # as many pixels as parameters
    start = _State(
        parameters=jnp.stack([amplitude, zero, zero, zero + _SD]),
        fresh=~no,
        moved=no,
        diag=jnp.zeros(4),
        delta=zero,
        par=zero,
        evaluations=count + 1,
        converged=no,
        running=wanted & solvable,
    )
    shift = jnp.zeros(4).at[1:3].set(middle.astype(jnp.float32))

    def step(state: _State) -> _State:
        return _step(window, shift, state)

    return lax.while_loop(lambda state: state.running, step, start)


def _step(window: Window, shift: Float[Array, "4"], state: _State) -> _State:
    """One trial step: MINPACK's inner loop, with the outer's work when it is due."""
    residual, slopes = _linearise(window, state.parameters)
    norms = _norm(slopes, axis=0)
    first = ~jnp.any(state.diag > 0)
    diag = jnp.maximum(state.diag, jnp.where(first & (norms == 0), 1, norms))
    diag = jnp.where(state.fresh, diag, state.diag)
    scaled_norm = _norm(diag * (state.parameters + shift))
    bound = jnp.where(scaled_norm > 0, 100 * scaled_norm, 100)
    delta = jnp.where(first, bound, state.delta)

    triangle, target = _triangle(slopes, -residual)
    par, move = _bounded_step(triangle, target, diag, delta, state.par)
    length, norm = _norm(diag * move), _norm(residual)
    delta = jnp.where(state.moved, delta, jnp.minimum(delta, length))

    change = jnp.where(window.inside, _model_change(window, state.parameters, move), 0)
    linear = _norm(jnp.sum(triangle * move, axis=1)) / norm
    damped = jnp.sqrt(par) * length / norm
    expected = linear**2 + 2 * damped**2
    actual = -jnp.sum(change * (2 * residual + change)) / norm**2
    actual = jnp.where(actual > -99, actual, -1)  # the norm ten times as large
    ratio = jnp.where(expected > 0, actual / expected, 0)
    delta, par = _new_bound(actual, ratio, delta, par, length, linear**2 + damped**2)

    moved = ratio >= 1e-4
    parameters = jnp.where(moved, state.parameters + move, state.parameters)
    evaluations = state.evaluations + 1 + jnp.where(state.fresh, 4, 0)
    small = (jnp.abs(actual) <= _TOLERANCE) & (expected <= _TOLERANCE) & (ratio <= 2)
    scaled_norm = jnp.where(moved, _norm(diag * (parameters + shift)), scaled_norm)
    # Float32 resolves no smaller change of the model. It is 0 where the gradient is.
    small |= linear * norm <= _ROUNDING * _norm(
        jnp.where(window.inside, window.values, 0)
    )
    converged = small | (delta <= _TOLERANCE * scaled_norm)
    running = ~converged & (evaluations < _EVALUATIONS) & jnp.isfinite(expected)
    return _State(
        parameters,
        moved,
        state.moved | moved,
        diag,
        delta,
        par,
        evaluations,
        converged,
        running,
    )


def _linearise(
    window: Window, parameters: Float[Array, "4"]
) -> tuple[Float[Array, " M"], Float[Array, "M 4"]]:
    """Residuals of the model, and their derivatives."""
    amplitude, center, sd = parameters[0], parameters[1:3], parameters[3]
    offset = window.places - center
    square = jnp.sum(offset**2, axis=-1)
    bell = jnp.exp(-square / (2 * sd**2))
    slope = (amplitude * bell / sd**2)[:, None]
    slopes = jnp.concatenate(
        [bell[:, None], slope * offset, slope * square[:, None] / sd], axis=-1
    )
    residual = amplitude * bell - window.values
    inside = window.inside
    return jnp.where(inside, residual, 0), jnp.where(inside[:, None], slopes, 0)


def _model_change(
    window: Window, parameters: Float[Array, "4"], move: Float[Array, "4"]
) -> Float[Array, " M"]:
    """Change of the model by a step, with small relative error for small steps too.

    As the difference of two models in float32 it would be noise long before a fit ends.
    """
    amplitude, center, sd = parameters[0], parameters[1:3], parameters[3]
    offset, new_sd = window.places - center, sd + move[3]
    square = jnp.sum(offset**2, axis=-1)
    exponent = square / (2 * sd**2)
    growth = jnp.sum(move[1:3] * (move[1:3] - 2 * offset), axis=-1) / (2 * new_sd**2)
    growth -= exponent * move[3] * (sd + new_sd) / new_sd**2
    near = jnp.abs(growth) < 1
    small = jnp.expm1(-jnp.where(near, growth, 0)) * (amplitude + move[0]) + move[0]
    large = (amplitude + move[0]) * jnp.exp(-(exponent + growth))
    bell = jnp.exp(-exponent)
    return jnp.where(near, bell * small, large - amplitude * bell)


def _new_bound(
    actual: Array, ratio: Array, delta: Array, par: Array, length: Array, slope: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Bound of the next step and its Levenberg-Marquardt parameter.

    Args:
      actual: reduction of the sum of squares, as a share of it.
      ratio: of the actual to the expected reduction.
      delta: bound of this step.
      par: this step's parameter.
      length: this step's scaled length.
      slope: of the reduction along the step.
    """
    shrink = jnp.where(actual >= 0, 0.5, 0.5 * slope / (slope - 0.5 * actual))
    shrink = jnp.maximum(jnp.where(actual <= -1, 0.1, shrink), 0.1)
    grows = (par == 0) | (ratio >= 0.75)
    bad = ratio <= 0.25
    larger = jnp.where(grows, 2 * length, delta)
    return (
        jnp.where(bad, shrink * jnp.minimum(delta, 10 * length), larger),
        jnp.where(bad, par / shrink, jnp.where(grows, par / 2, par)),
    )


def _bounded_step(
    triangle: Float[Array, "4 4"],
    target: Float[Array, "4"],
    diag: Float[Array, "4"],
    delta: Float[Array, ""],
    par: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, "4"]]:
    """The step of a scaled length of about `delta`, or the shorter Gauss-Newton step.

    MINPACK's `lmpar`: at most ten Newton steps for the parameter.
    """

    def excess(triangle: Array, target: Array) -> tuple[Array, Array, Array]:
        """A step, by how much it is too long, and Newton's correction of `par`."""
        move = _solve_upper(triangle, target)
        length = _norm(diag * move)
        over = length - delta
        inner = _norm(_solve_lower(triangle.T, diag * (diag * move / length)))
        return move, over, over / delta / inner**2

    move, over, newton = excess(triangle, target)
    full_rank = jnp.all(jnp.diagonal(triangle) != 0)
    gradient = _norm((target @ triangle) / diag)
    lower = jnp.where(full_rank, newton, 0)
    upper = gradient / delta
    upper = jnp.where(upper == 0, _DWARF / jnp.minimum(delta, 0.1), upper)
    start = jnp.clip(par, lower, upper)
    start = jnp.where(start == 0, gradient / (over + delta), start)

    def search(state: _Search) -> _Search:
        count, par, lower, upper, _, before, _ = state
        par = jnp.where(par == 0, jnp.maximum(_DWARF, 0.001 * upper), par)
        damped = jnp.concatenate([triangle, jnp.diag(jnp.sqrt(par) * diag)])
        both = _triangle(damped, jnp.concatenate([target, jnp.zeros(4)]))
        move, over, newton = excess(*both)
        done = jnp.abs(over) <= 0.1 * delta
        done |= (lower == 0) & (over <= before) & (before < 0)
        done |= (count == 9) | ~jnp.isfinite(over)
        lower = jnp.where(over > 0, jnp.maximum(lower, par), lower)
        upper = jnp.where(over < 0, jnp.minimum(upper, par), upper)
        following = jnp.maximum(lower, par + newton)
        par = jnp.where(done, par, following)
        return count + 1, par, lower, upper, move, over, done

    short = ~(over > 0.1 * delta)
    count = jnp.zeros((), jnp.int32)
    state = (count, start, lower, upper, move, over, short)
    _, par, _, _, move, _, _ = lax.while_loop(lambda s: ~s[-1], search, state)
    return jnp.where(short, 0, par), move


def _norm(values: Array, axis: int | None = None) -> Array:
    return jnp.sqrt(jnp.sum(values**2, axis=axis))


def _triangle(
    matrix: Float[Array, "M 4"], target: Float[Array, " M"]
) -> tuple[Float[Array, "4 4"], Float[Array, "4"]]:
    """QR by modified Gram-Schmidt: `R` and `Q^T target`."""
    columns = jnp.concatenate([matrix, target[:, None]], axis=1)
    rows = []
    for i in range(4):
        length = _norm(columns[:, i])
        direction = columns[:, i] / jnp.where(length > 0, length, 1)
        row = jnp.sum(direction[:, None] * columns, axis=0)
        row = jnp.where(jnp.arange(5) < i, 0, row).at[i].set(length)
        columns = columns - direction[:, None] * row
        rows.append(row)
    result = jnp.stack(rows)
    return result[:, :4], result[:, 4]


def _solve_upper(
    triangle: Float[Array, "4 4"], target: Float[Array, "4"]
) -> Float[Array, "4"]:
    """Solve `R x = target`; `x` is 0 where `R`'s diagonal is."""
    return _solve_lower(triangle[::-1, ::-1], target[::-1])[::-1]


def _solve_lower(
    triangle: Float[Array, "4 4"], target: Float[Array, "4"]
) -> Float[Array, "4"]:
    result: list[Array] = []
    for i in range(4):
        rest = target[i] - sum(triangle[i, j] * x for j, x in enumerate(result))
        pivot = triangle[i, i]
        result.append(jnp.where(pivot == 0, 0, rest / jnp.where(pivot == 0, 1, pivot)))
    return jnp.stack(result)
