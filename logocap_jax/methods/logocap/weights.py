"""PyTorch checkpoints of LOGO-CAP: the published ones."""

import numpy as np

from logocap_jax.methods import dense_weights
from logocap_jax.torch_rows import (
    BIASED_CONV,
    CONV,
    NORM,
    SAME,
    STEPS,
    Layout,
    Leaf,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    conv_norm,
    num_modules,
    num_outputs,
)

_EMBEDDING = "params/dense/embedding_head"
_MAPS = "params/maps"


def _pointwise_to_matrix(kernel: np.ndarray) -> np.ndarray:
    return kernel[:, :, 0, 0].T if kernel.shape[2:] == (1, 1) else kernel


def _matrix_to_pointwise(kernel: np.ndarray) -> np.ndarray:
    return kernel.T[:, :, None, None] if kernel.ndim == 2 else kernel


_ATTENTIVE_NORM = (
    Leaf("weight_", "params", "scale", SAME),
    Leaf("bias_", "params", "bias", SAME),
    Leaf(
        "attn_weights.attention.0.weight",
        "params",
        "attention/kernel",
        Layout(_pointwise_to_matrix, _matrix_to_pointwise),
    ),
    Leaf("running_mean", "batch_stats", "norm/mean", SAME),
    Leaf("running_var", "batch_stats", "norm/var", SAME, (STEPS,)),
)
_ROWS = (
    *dense_weights.ROWS,
    *conv_norm("transition_embedding", "dense/embedding_head"),
    Row("joints_mlp.0", "maps/message0_conv", CONV),
    Row("joints_mlp.1", "maps/message0_norm", NORM),
    Row("joints_mlp.3", "maps/message1_conv", CONV),
    Row("joints_mlp.4", "maps/message1_norm", _ATTENTIVE_NORM),
    Row("joints_mlp.6", "maps/message2_conv", CONV),
    Row("joints_mlp.7", "maps/message2_norm", NORM),
    Row("joints_mlp.9", "maps/output", BIASED_CONV),
)


def _recognise(shapes: Shapes) -> Settings | None:
    has_embedding = f"{_EMBEDDING}/conv/kernel" in shapes
    has_maps = any(path.startswith(f"{_MAPS}/") for path in shapes)
    if not (has_embedding and has_maps and dense_weights.has_heads(shapes)):
        return None
    layers = range(num_modules(shapes, _MAPS, r"message(\d+)_conv"))
    norms = [shapes.get(f"{_MAPS}/message{i}_norm/scale", ()) for i in layers]
    attentive = [i for i in layers if len(norms[i]) == 2]  # affines and channels
    affines = {"affines": norms[attentive[0]][0]} if attentive else {}
    return {
        **dense_weights.dense_settings(shapes),
        "embedding": num_outputs(shapes, f"{_EMBEDDING}/conv"),
        "message_channels": tuple(
            num_outputs(shapes, f"{_MAPS}/message{i}_conv") for i in layers
        ),
        "attentive_layer": attentive[0] if attentive else None,
        **affines,
        "num_keypoints": num_outputs(shapes, f"{_MAPS}/output"),
    }


FORMAT = WeightFormat(_ROWS, _recognise, dense_weights.ALIASES)
