"""Settings of a method, read off weights."""

import dataclasses
from typing import Any

from logocap_jax import skeletons
from logocap_jax.convert.architecture import read_architecture
from logocap_jax.convert.trees import Variables
from logocap_jax.models.hrnet import HRNetConfig


def read_settings(variables: Variables) -> dict[str, Any]:
    """What `build_method` needs to know of the model that has these variables.

    Sizes only: what weights do not tell (windows, thresholds) is left to the defaults,
    the reference's.

    Args:
      variables: of a whole model; leaves with a shape.

    Returns:
      The method's `name` and its settings.

    Raises:
      ValueError: not the weights of a known method, or of another skeleton than COCO's.
    """
    found = read_architecture(variables)
    sizes = dataclasses.asdict(found)
    heads = ["heatmap_hidden", "offset_hidden"]
    lacking = [name for name in heads if sizes[name] is None]
    if lacking:
        raise ValueError(f"weights lack what makes poses: {', '.join(lacking)}")
    kinds = skeletons.COCO.num_keypoints
    if found.num_keypoints != kinds:
        raise ValueError(
            f"weights for {found.num_keypoints} keypoints, expected {kinds}"
        )
    name = "center_offset"
    if not found.absent_parts():
        name = "logocap"
        heads += ["embedding", "message_channels", "affines"]
    fields = {field.name for field in dataclasses.fields(HRNetConfig)}
    backbone = {name: size for name, size in sizes.items() if name in fields}
    return {"name": name, "backbone": backbone} | {head: sizes[head] for head in heads}
