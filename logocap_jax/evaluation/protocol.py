"""How the results of a data set are scored, and how that is reported."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from logocap_jax import skeletons
from logocap_jax.evaluation.coco import evaluate_coco
from logocap_jax.evaluation.crowdpose import (
    EASY_BELOW,
    HARD_FROM,
    check_thresholds,
    describe_crowd_index,
    evaluate_crowdpose,
)
from logocap_jax.evaluation.table import COLUMNS
from logocap_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Protocol:
    """COCO's protocol, or CrowdPose's for its skeleton.

    Attributes:
      skeleton: what the keypoints are.
      crowd_thresholds: of CrowdPose, from which crowd index on an image is not easy
        any more, and from which it is hard; the official ones if not given.
    """

    skeleton: Skeleton
    crowd_thresholds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the thresholds.

        Raises:
          ValueError: if they make no sense, or it is not CrowdPose.
        """
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
        """What has to be said with the numbers: they depend on it."""
        source = f"OKS sigmas: {self.skeleton.sigmas_from}"
        if not self._is_crowdpose:
            return source
        return f"{source}; {describe_crowd_index(*self._thresholds)}"

    def evaluate(
        self,
        truth: dict[str, Any],
        results: list[dict[str, Any]],
        *,
        image_ids: Iterable[int],
    ) -> dict[str, float | None]:
        """Score results; see `evaluate_coco` and `evaluate_crowdpose`."""
        if self._is_crowdpose:
            easy_below, hard_from = self._thresholds
            return evaluate_crowdpose(
                truth,
                results,
                easy_below=easy_below,
                hard_from=hard_from,
                image_ids=image_ids,
            )
        sigmas = self.skeleton.sigmas
        return evaluate_coco(truth, results, sigmas=sigmas, image_ids=image_ids)

    @property
    def _thresholds(self) -> tuple[float, float]:
        return self.crowd_thresholds or (EASY_BELOW, HARD_FROM)

    @property
    def _is_crowdpose(self) -> bool:
        return self.skeleton == skeletons.CROWDPOSE
