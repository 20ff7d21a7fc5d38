"""Scoring of poses: `evaluate_coco`, `evaluate_crowdpose`.

They are imported when they are asked for, as `logocap_jax.Predictor` is.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "evaluate_coco":
        from logocap_jax.evaluation.coco import evaluate_coco

        return evaluate_coco
    if name == "evaluate_crowdpose":
        from logocap_jax.evaluation.crowdpose import evaluate_crowdpose

        return evaluate_crowdpose
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
