"""PyTorch names of the scorer, and the settings that its arrays tell; NumPy only."""

from logocap_jax.skeletons import KNOWN
from logocap_jax.torch_rows import LINEAR, Row, Settings, Shapes

# PyTorch keeps the scorer in a file of its own: `WeightFormat.files`.
FILES = ("scorer",)
ROWS = (Row("scorer.l{n}", "scorer/l{n}", LINEAR),)
_FIRST = "params/scorer/l1/kernel"


def scorer_settings(shapes: Shapes, num_keypoints: int) -> Settings:
    """`scorer`: weights have one. `num_limbs`: of its skeleton, where it has one.

    Raises:
      ValueError: if it scores the poses of another skeleton than `num_keypoints` tells.
    """
    if _FIRST not in shapes:
        return {"scorer": False}
    features = shapes[_FIRST][0]
    skeleton = KNOWN.get(num_keypoints)
    sticks, rest = divmod(features - num_keypoints, 3)
    expected = len(skeleton.sticks) if skeleton else sticks
    if rest or sticks < 1 or sticks != expected:
        raise ValueError(
            f"got a scorer of {features} numbers a pose, expected "
            f"{3 * max(expected, 1) + num_keypoints} for {num_keypoints} keypoints: it "
            "belongs to another skeleton"
        )
    return {"scorer": True, "num_limbs": sticks}
