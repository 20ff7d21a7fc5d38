"""How the results of a data set are scored, and how that is reported."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from logocap_jax import skeletons
from logocap_jax.evaluation.coco import evaluate_coco
from logocap_jax.evaluation.crowdpose import describe_crowd_index, evaluate_crowdpose
from logocap_jax.evaluation.table import COLUMNS
from logocap_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Protocol:
    """COCO's protocol, or CrowdPose's for its skeleton.

    Attributes:
      skeleton: what the keypoints are.
    """

    skeleton: Skeleton

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
        return f"{source}; {describe_crowd_index()}" if self._is_crowdpose else source

    def evaluate(
        self,
        truth: dict[str, Any],
        results: list[dict[str, Any]],
        *,
        image_ids: Iterable[int],
    ) -> dict[str, float | None]:
        """Score results; see `evaluate_coco` and `evaluate_crowdpose`."""
        if self._is_crowdpose:
            return evaluate_crowdpose(truth, results, image_ids=image_ids)
        sigmas = self.skeleton.sigmas
        return evaluate_coco(truth, results, sigmas=sigmas, image_ids=image_ids)

    @property
    def _is_crowdpose(self) -> bool:
        return self.skeleton == skeletons.CROWDPOSE
