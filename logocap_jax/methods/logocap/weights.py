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
    num_modules,
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
    layers = range(num_modules(shapes, _MAPS, r"message(\d+)_conv"))
    norms = [shapes.get(f"{_MAPS}/message{i}_norm/scale", ()) for i in layers]
    attentive = [i for i in layers if len(norms[i]) == 2]  # affines and channels
    if attentive:
        settings["affines"] = norms[attentive[0]][0]
    return settings | {
        "message_channels": tuple(
            num_outputs(shapes, f"{_MAPS}/message{i}_conv") for i in layers
        ),
        "attentive_layer": attentive[0] if attentive else None,
        "num_keypoints": num_outputs(shapes, f"{_MAPS}/output"),
    }


FORMAT = WeightFormat(_ROWS, _recognise, dense_weights.ALIASES)
