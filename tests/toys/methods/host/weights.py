"""PyTorch checkpoints of the toy with a step on the host."""

from logocap_jax.torch_rows import (
    BIASED_CONV,
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


FORMAT = WeightFormat(
    rows=(Row("base", "base", BIASED_CONV), Row("head", "head", BIASED_CONV)),
    recognise=recognise,
)
