"""PyTorch checkpoints of the toy: three convolutions with biases, and a scorer."""

from logocap_jax.methods import scorer_weights
from logocap_jax.torch_rows import (
    BIASED_CONV,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    num_outputs,
)


def recognise(shapes: Shapes) -> Settings | None:
    if "params/dense/output/kernel" not in shapes:
        return None
    num_keypoints = num_outputs(shapes, "params/dense/output")
    return {
        "channels": num_outputs(shapes, "params/dense/conv0"),
        "num_keypoints": num_keypoints,
        **scorer_weights.scorer_settings(shapes, num_keypoints),
    }


FORMAT = WeightFormat(
    rows=(
        Row("layers.{n}", "dense/conv{n}", BIASED_CONV),
        Row("final", "dense/output", BIASED_CONV),
        *scorer_weights.ROWS,
    ),
    recognise=recognise,
    files=scorer_weights.FILES,
)
