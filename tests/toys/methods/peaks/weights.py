"""PyTorch checkpoints of the toy: three convolutions with biases."""

from logocap_jax.torch_rows import (
    BIASED_CONV,
    Row,
    Settings,
    Shapes,
    WeightFormat,
    num_outputs,
)


def recognise(shapes: Shapes) -> Settings | None:
    if "params/peaks/output/kernel" not in shapes:
        return None
    return {
        "channels": num_outputs(shapes, "params/peaks/conv0"),
        "num_keypoints": num_outputs(shapes, "params/peaks/output"),
    }


FORMAT = WeightFormat(
    rows=(
        Row("layers.{n}", "peaks/conv{n}", BIASED_CONV),
        Row("final", "peaks/output", BIASED_CONV),
    ),
    recognise=recognise,
)
