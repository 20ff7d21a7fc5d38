"""The results of all cases, for people and for programs."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from logocap_jax.parity.compare import StageResult, first_failure
from logocap_jax.tables import format_table

_HEADER = ("stage", "fed with", "shape", "of largest", "absolute", "tolerance", "")
_MARKS = {True: "pass", False: "FAIL", None: ""}


def format_case(results: Sequence[StageResult]) -> str:
    """The table of one case, in the order of the stages.

    Args:
      results: of one case, at least one.

    Returns:
      Lines without a newline at the end.
    """
    return format_table(
        [[results[0].case], [*_HEADER, ""], *(_cells(result) for result in results)],
        align="<",
    )


def format_verdict(results: Sequence[StageResult]) -> str:
    """One line: all passed, or how many failed and which first."""
    failed = sum(result.passed is False for result in results)
    first = first_failure(results)
    if first is not None:
        return (
            f"{failed} of {len(results)} comparisons failed; the first: {first.case}, "
            f"{first.stage} (fed with {first.fed_with})"
        )
    if all(result.passed is None for result in results):
        return f"{len(results)} comparisons, without pass marks"
    widened = sum(result.widened for result in results)
    by_noise = f", {widened} of them against the model's own noise" if widened else ""
    count = sum(result.ties for result in results)
    ties = f", {count} {'tie' if count == 1 else 'ties'}" if count else ""
    return f"all {len(results)} comparisons passed{by_noise}{ties}"


def to_json(results: Sequence[StageResult], *, dtype: str) -> dict[str, Any]:
    """The results as `--json` writes them.

    Args:
      results: of all cases.
      dtype: dtype of the networks.

    Returns:
      `dtype`, `passed` (None where nothing was marked), `first_failure` and `results`;
      errors that are no finite numbers are None.
    """
    first = first_failure(results)
    marks = [result.passed for result in results if result.passed is not None]
    return {
        "dtype": dtype,
        "passed": all(marks) if marks else None,
        "first_failure": None if first is None else _record(first),
        "results": [_record(result) for result in results],
    }


def _record(result: StageResult) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(result).items()
    }


def _cells(result: StageResult) -> tuple[str, ...]:
    return (
        result.stage,
        result.fed_with,
        "x".join(map(str, result.shape)),
        _number(result.relative_error),
        _number(result.absolute_error),
        result.tolerance,
        _MARKS[result.passed],
        result.note,
    )


def _number(value: float) -> str:
    return f"{value:.1e}" if math.isfinite(value) else "-"
