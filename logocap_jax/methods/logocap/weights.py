"""PyTorch checkpoints of LOGO-CAP: the published ones."""

from logocap_jax.methods import dense_weights
from logocap_jax.torch_rows import (
    ATTENTIVE_NORM,
    BIASED_CONV,
    CONV,
    NORM,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    conv_norm,
    num_outputs,
)

_EMBEDDING = "params/dense/embedding_head"
_MAPS = "params/maps"

_ROWS = (
    *dense_weights.ROWS,
    *conv_norm("transition_embedding", "dense/embedding_head"),
    Row("joints_mlp.0", "maps/message0_conv", CONV),
    Row("joints_mlp.1", "maps/message0_norm", NORM),
    Row("joints_mlp.3", "maps/message1_conv", CONV),
    Row("joints_mlp.4", "maps/message1_norm", ATTENTIVE_NORM),
    Row("joints_mlp.6", "maps/message2_conv", CONV),
    Row("joints_mlp.7", "maps/message2_norm", NORM),
    Row("joints_mlp.9", "maps/output", BIASED_CONV),
)


def _recognise(shapes: Shapes) -> Settings | None:
    has_embedding = f"{_EMBEDDING}/conv/kernel" in shapes
    has_maps = any(path.startswith(f"{_MAPS}/") for path in shapes)
    if not has_embedding and not has_maps:
        return None
    settings = dense_weights.dense_settings(shapes)
    if has_embedding:
        settings["embedding"] = num_outputs(shapes, f"{_EMBEDDING}/conv")
    if not has_maps:
        return settings | {"num_keypoints": dense_weights.num_keypoints(shapes)}
    return settings | {
        "message_channels": tuple(
            num_outputs(shapes, f"{_MAPS}/message{i}_conv") for i in range(3)
        ),
        "affines": _affines(shapes),
        "num_keypoints": num_outputs(shapes, f"{_MAPS}/output"),
    }


def _affines(shapes: Shapes) -> int:
    path = f"{_MAPS}/message1_norm/scale"
    shape = shapes.get(path, ())
    if len(shape) != 2:
        raise ValueError(f"{path}: got shape {shape}, expected affines and channels")
    return shape[0]


FORMAT = WeightFormat(_ROWS, _recognise, dense_weights.ALIASES)
