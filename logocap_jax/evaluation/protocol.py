"""How the results of a data set are scored, and how that is reported."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from logocap_jax import skeletons, tables
from logocap_jax.evaluation.coco import evaluate_coco
from logocap_jax.evaluation.crowdpose import (
    EASY_BELOW,
    HARD_FROM,
    check_thresholds,
    evaluate_crowdpose,
)
from logocap_jax.evaluation.results import write_json
from logocap_jax.skeletons import Skeleton

# The columns that papers report.
COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR")

Rows = Mapping[str, Mapping[str, float | None]]


def format_table(rows: Rows, columns: Sequence[str] = COLUMNS) -> str:
    """Lay out metrics (0..1; `None` shows as `-`) as a plain-text table in percent.

    Raises:
      ValueError: if a metric is missing or outside 0..1.
    """
    _check(rows, columns)
    lines = [["poses", *columns]]
    for name, metrics in rows.items():
        lines.append([name, *(format_percent(metrics[column]) for column in columns)])
    return tables.format_table(lines, min_width=5)


def write_metrics(path: Path, rows: Rows) -> None:
    """Write `{result set: {metric: value}}` as JSON, all of it or nothing.

    Metrics are 0..1; `None` is written as `null`.

    Raises:
      ValueError: if a metric is outside 0..1.
    """
    for name, metrics in rows.items():
        _check({name: metrics}, list(metrics))
    write_json(path, rows, indent=2)


def _check(rows: Rows, columns: Sequence[str]) -> None:
    for name, metrics in rows.items():
        for column in columns:
            if column not in metrics:
                raise ValueError(
                    f"result set {name!r}: lacks {column}, expected the metrics "
                    f"{', '.join(columns)}"
                )
            value = metrics[column]
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"result set {name!r}: got {column} {value}, expected 0..1 or None"
                )


def format_percent(value: float | None) -> str:
    """A share 0..1 in percent; `-` for None."""
    return "-" if value is None else f"{100 * value:.1f}"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """COCO's protocol, or CrowdPose's for its skeleton.

    Raises:
      ValueError: if thresholds are not in order within 0..1, or it is not CrowdPose.
    """

    skeleton: Skeleton  #: of the keypoints
    #: Of CrowdPose, the crowd indices where easy images end and hard ones begin; the
    #: official ones if not given.
    crowd_thresholds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the thresholds."""
        if self.crowd_thresholds is None:
            return
        if not self._is_crowdpose:
            raise ValueError(
                f"got crowd thresholds for skeleton {self.skeleton.name!r}, expected "
                "them for CrowdPose only, whose images have a crowd index"
            )
        check_thresholds(*self.crowd_thresholds)

    @property
    def columns(self) -> tuple[str, ...]:
        """The metrics that papers report."""
        if self._is_crowdpose:
            return ("AP", "AP50", "AP75", "AP_easy", "AP_medium", "AP_hard")
        return COLUMNS

    @property
    def note(self) -> str:
        """Caveats to print next to the scores."""
        source = f"OKS sigmas: {self.skeleton.sigmas_from}"
        if not self._is_crowdpose:
            return source
        easy, hard = self._thresholds
        return f"{source}; crowd index: easy < {easy} <= medium < {hard} <= hard"

    def evaluate(
        self,
        truth: dict[str, Any],
        results: list[dict[str, Any]],
        *,
        image_ids: Iterable[int],
    ) -> dict[str, float | None]:
        """Score results; see `evaluate_coco` and `evaluate_crowdpose`."""
        if self._is_crowdpose:
            easy, hard = self._thresholds
            return evaluate_crowdpose(
                truth, results, easy_below=easy, hard_from=hard, image_ids=image_ids
            )
        sigmas = self.skeleton.sigmas
        return evaluate_coco(truth, results, sigmas=sigmas, image_ids=image_ids)

    @property
    def _thresholds(self) -> tuple[float, float]:
        return self.crowd_thresholds or (EASY_BELOW, HARD_FROM)

    @property
    def _is_crowdpose(self) -> bool:
        return self.skeleton == skeletons.CROWDPOSE
