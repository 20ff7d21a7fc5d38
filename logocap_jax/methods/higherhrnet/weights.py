"""PyTorch checkpoints of HigherHRNet: the original release's and mmpose 0.x's."""

from logocap_jax.methods.higher_weights import (
    has_higher,
    higher_rows,
    higher_settings,
    num_heatmaps,
)
from logocap_jax.methods.higherhrnet.public_weights import PUBLIC
from logocap_jax.skeletons import KNOWN
from logocap_jax.torch_rows import Settings, Shapes, WeightFormat


def _recognise(shapes: Shapes) -> Settings | None:
    if not has_higher(shapes):
        return None
    count = num_heatmaps(shapes)
    # Weights do not tell a centre from a keypoint, but for their number.
    center = count not in KNOWN and count - 1 in KNOWN
    return {
        **higher_settings(shapes),
        "center": center,
        "num_keypoints": count - int(center),
    }


FORMAT = WeightFormat(
    tuple(higher_rows("", "")),
    _recognise,
    # CenterGroup's detector, and mmpose's names.
    aliases=((r"^bu_model\.", ""), (r"^(?:backbone|keypoint_head)\.", "")),
    public=PUBLIC,
)
