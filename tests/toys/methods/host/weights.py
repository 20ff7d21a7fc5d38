"""PyTorch checkpoints of the toy with a step on the host."""

from logocap_jax.torch_rows import (
    BIASED_CONV,
    SAME,
    Leaf,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    num_outputs,
)


def recognise(shapes: Shapes) -> Settings | None:
    if "params/head/kernel" not in shapes:
        return None
    return {
        "channels": num_outputs(shapes, "params/base"),
        "num_keypoints": num_outputs(shapes, "params/head"),
    }


STEPS = Leaf("steps", "batch_stats", "steps", SAME)
FORMAT = WeightFormat(
    rows=(
        Row("base", "base", (*BIASED_CONV, STEPS)),
        Row("head", "head", BIASED_CONV),
    ),
    recognise=recognise,
)
