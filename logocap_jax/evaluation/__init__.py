"""Scoring of poses: `evaluate_coco`, `evaluate_crowdpose`.

They are imported when they are asked for, as `logocap_jax.Predictor` is.
"""

import importlib
from typing import Any

_ROOMS = {"evaluate_coco": "coco", "evaluate_crowdpose": "crowdpose"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
