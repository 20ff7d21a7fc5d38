"""Distances of arrays, held against tolerances."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

# A model that makes more of noise than this is not compared, it is broken.
_WIDEST = 10.0


@dataclasses.dataclass(frozen=True)
class StageResult:
    """One line of the table.

    Attributes:
      case: name of the case.
      stage: name of the compared array or figure.
      fed_with: the reference's arrays that the stage was computed from; `image` and
        `batch` mean end to end.
      shape: of the reference's array, channels last.
      relative_error: largest error over the reference's largest value; infinite where
        shapes differ or a number is not finite.
      absolute_error: largest error, in the array's unit.
      tolerance: the rule, in words.
      passed: the rule is kept; None where none applies.
      widened: the tolerance is the model's own noise, see `Comparison.relative`.
      note: a remark for the reader.
      ties: peaks for which another cell is as good within float noise: not a failure.
    """

    case: str
    stage: str
    fed_with: str
    shape: tuple[int, ...]
    relative_error: float
    absolute_error: float
    tolerance: str
    passed: bool | None
    widened: bool = False
    note: str = ""
    ties: int = 0


class Comparison:
    """Compares arrays of one case and keeps the results.

    Attributes:
      results: so far, in the order of the stages.
    """

    def __init__(self, case: str, *, marks: bool = True) -> None:
        """Start with no results.

        Args:
          case: name of the case.
          marks: hold errors against tolerances; if not, only report them.
        """
        self.results: list[StageResult] = []
        self._case = case
        self._marks = marks

    def relative(
        self,
        stage: str,
        found: np.ndarray,
        expected: np.ndarray,
        *,
        tolerance: float,
        fed_with: str,
        noisy: np.ndarray | None = None,
    ) -> None:
        """Hold the largest error against a share of the largest value.

        Args:
          stage: as in `StageResult`.
          found: our array.
          expected: the reference's.
          tolerance: share of its largest value.
          fed_with: as in `StageResult`.
          noisy: our array from an input that was changed by one rounding step. Where
            the model makes more of that than the tolerance allows, no two programs
            agree to it: the tolerance is then twice this change, but no more than
            ten times the given one, and the result says so.
        """
        absolute, share = largest_errors(found, expected)
        rule = f"{tolerance:.0e} of largest"
        noise = 0.0 if noisy is None else 2 * largest_errors(noisy, found)[1]
        widened = tolerance < noise < np.inf
        if widened:
            tolerance = min(noise, _WIDEST * tolerance)
            rule = f"{tolerance:.0e} of largest (noise)"
        self.add(
            stage,
            expected,
            (share, absolute),
            rule,
            share <= tolerance,
            fed_with,
            widened=widened,
        )

    def absolute(
        self,
        stage: str,
        found: np.ndarray,
        expected: np.ndarray,
        *,
        tolerance: float,
        fed_with: str,
        ties: int = 0,
    ) -> None:
        """Hold the largest error against a number in the array's own unit."""
        absolute, share = largest_errors(found, expected)
        rule = f"{tolerance:.0e} absolute" if tolerance else "equal"
        self.add(
            stage,
            expected,
            (share, absolute),
            rule,
            absolute <= tolerance,
            fed_with,
            ties=ties,
        )

    def keypoints(
        self,
        stage: str,
        found: Float[np.ndarray, "M K 2"],
        expected: Float[np.ndarray, "M1 K1 C"],
        *,
        fed_with: str,
        unit: float = 1.0,
        close: float = 0.01,
        share: float = 0.995,
        limit: float = 1.0,
        note: str = "",
    ) -> None:
        """Hold keypoints against distances in input px.

        Args:
          stage: as in `StageResult`.
          found: keypoints.
          expected: those of the reference; other columns are passed over.
          fed_with: as in `StageResult`.
          unit: input px per unit of the coordinates.
          close: how near, in input px, ...
          share: ... at least this share of the keypoints must be;
          limit: and none farther off than this, in input px.
          note: a remark for the reader.
        """
        rule = f"{close} px for {share:.1%}"
        rule += f", all {limit:g} px" if np.isfinite(limit) else ""
        points = expected[..., :2]
        if found.shape != points.shape:
            errors = (np.inf, np.inf)
            self.add(stage, expected, errors, rule, False, fed_with)
            return
        distance = np.abs(found - points).max(axis=-1) * unit
        worst = finite_max(distance)
        # Float noise of a coordinate of hundreds of px must not decide at the limit.
        passed = (
            worst <= limit + 1e-3
            and np.sum(distance > close) <= (1 - share) * distance.size
        )
        largest = finite_max(np.abs(points)) * unit
        beyond = int(np.sum(distance > close))
        remarks = [f"{beyond} beyond {close} px"] if beyond else []
        note = ", ".join([*remarks, *filter(None, [note])])
        errors = (_share(worst, largest), worst)
        self.add(stage, expected, errors, rule, bool(passed), fed_with, note=note)

    def add(
        self,
        stage: str,
        expected: np.ndarray,
        errors: tuple[float, float],
        tolerance: str,
        passed: bool | None,
        fed_with: str,
        *,
        widened: bool = False,
        note: str = "",
        ties: int = 0,
    ) -> None:
        """Keep a result; `errors` are the relative and the absolute one."""
        if ties:
            note = f"{ties} {'tie' if ties == 1 else 'ties'}"
        self.results.append(
            StageResult(
                case=self._case,
                stage=stage,
                fed_with=fed_with,
                shape=tuple(expected.shape),
                relative_error=float(errors[0]),
                absolute_error=float(errors[1]),
                tolerance=tolerance if self._marks else "",
                passed=passed if self._marks else None,
                widened=widened and self._marks,
                note=note,
                ties=ties,
            )
        )


def largest_errors(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest absolute error, and its share of the largest expected value.

    Both infinite where the shapes differ or an error is not finite.
    """
    if found.shape != expected.shape:
        return np.inf, np.inf
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    absolute = finite_max(difference)
    return absolute, _share(absolute, finite_max(np.abs(expected)))


def first_failure(results: Sequence[StageResult]) -> StageResult | None:
    """The first result that breaks its rule."""
    return next((result for result in results if result.passed is False), None)


def finite_max(values: np.ndarray) -> float:
    """The largest value, infinite if any is not finite, 0 if there are none."""
    if not np.isfinite(values).all():
        return np.inf
    return float(np.max(values, initial=0))


def rounding_noise(shape: tuple[int, ...]) -> Float[np.ndarray, "R H W 3"]:
    """Factors of one float32 rounding step up or down; the same ones in every run."""
    signs = np.random.default_rng(0).choice([-1, 1], shape)
    return (1 + signs * np.finfo(np.float32).eps).astype(np.float32)


def _share(error: float, largest: float) -> float:
    if error == 0:
        return 0.0
    return error / largest if largest and np.isfinite(largest) else np.inf
