"""PyTorch checkpoints of the baseline: LOGO-CAP's, without what follows its heads."""

from logocap_jax.methods import dense_weights
from logocap_jax.torch_rows import Settings, Shapes, WeightFormat


def _recognise(shapes: Shapes) -> Settings | None:
    if not dense_weights.has_heads(shapes):
        return None
    keypoints = {"num_keypoints": dense_weights.num_keypoints(shapes)}
    return dense_weights.dense_settings(shapes) | keypoints


FORMAT = WeightFormat(dense_weights.ROWS, _recognise, dense_weights.ALIASES)
