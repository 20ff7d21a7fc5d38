"""Settings of a method, as a run tells them or read off weights."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from logocap_jax.checksums import verify_checksum
from logocap_jax.models.hrnet import HRNetConfig
from logocap_jax.skeletons import KNOWN, Skeleton
from logocap_jax.weights.architecture import read_architecture
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import checkpoint_folder
from logocap_jax.weights.trees import Variables


def saved_settings(path: Path) -> dict[str, Any] | None:
    """What training wrote beside a run's checkpoint; None for all other weights.

    Returns:
      The method's `name` and its settings, the skeleton among them.

    Raises:
      ValueError: if it is damaged, or of a version that wrote no checksum.
    """
    path = checkpoint_folder(path) / "meta" / "metadata"
    if not path.is_file():
        return None
    with errors_naming(path):
        meta = json.loads(path.read_bytes())
        verify_checksum(meta)
        return _with_tuples(meta["settings"]["method"] | {"skeleton": meta["skeleton"]})


def read_settings(
    variables: Variables, skeleton: Skeleton | None = None
) -> dict[str, Any]:
    """What `build_method` needs to know of the model that has these variables.

    Sizes only: what weights do not tell (windows, thresholds) is left to the defaults,
    the reference's.

    Args:
      variables: of a whole model; leaves with a shape.
      skeleton: what their keypoints are; by default the number of keypoints tells: the
        only one of `skeletons.KNOWN` that has as many.

    Returns:
      The method's `name` and its settings, the skeleton among them.

    Raises:
      ValueError: not the weights of a known method, or of another skeleton.
    """
    found = read_architecture(variables)
    sizes = dataclasses.asdict(found)
    heads = ["heatmap_hidden", "offset_hidden"]
    lacking = [name for name in heads if sizes[name] is None]
    if lacking:
        raise ValueError(f"weights lack what makes poses: {', '.join(lacking)}")
    skeleton = skeleton or KNOWN.get(found.num_keypoints or 0)
    if skeleton is None:
        counts = ", ".join(f"{count} ({each.name})" for count, each in KNOWN.items())
        raise ValueError(
            f"got weights for {found.num_keypoints} keypoints, expected {counts}, or "
            "their data set's folder: --skeleton DIR, in Python skeleton=..."
        )
    if found.num_keypoints != skeleton.num_keypoints:
        raise ValueError(
            f"got weights for {found.num_keypoints} keypoints, expected the "
            f"{skeleton.num_keypoints} of skeleton {skeleton.name!r}"
        )
    name = "center_offset"
    if not found.absent_parts():
        name = "logocap"
        heads += ["embedding", "message_channels", "affines"]
    fields = {field.name for field in dataclasses.fields(HRNetConfig)}
    backbone = {name: size for name, size in sizes.items() if name in fields}
    settings = {"name": name, "backbone": backbone}
    settings["skeleton"] = dataclasses.asdict(skeleton)
    return settings | {head: sizes[head] for head in heads}


def _with_tuples(value: Any) -> Any:
    """JSON has lists only; settings have tuples only."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return value
