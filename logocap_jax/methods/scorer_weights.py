"""PyTorch names of the scorer, and the settings that its arrays tell; NumPy only."""

from logocap_jax.skeletons import KNOWN
from logocap_jax.torch_rows import LINEAR, Row, Settings, Shapes

# PyTorch keeps the scorer in a file of its own: `WeightFormat.files`.
FILES = ("scorer",)
ROWS = (Row("scorer.l{n}", "scorer/l{n}", LINEAR),)
_FIRST = "params/scorer/l1/kernel"


def scorer_settings(shapes: Shapes, num_keypoints: int) -> Settings:
    """`scorer`: weights have one; `num_sticks`: those of its skeleton.

    Raises:
      ValueError: if it scores poses of another number of keypoints, or is none.
    """
    if _FIRST not in shapes:
        return {"scorer": False}
    if len(shapes[_FIRST]) != 2:
        raise ValueError(f"{_FIRST}: got shape {shapes[_FIRST]}, expected 2 axes")
    features = shapes[_FIRST][0]
    sticks, rest = divmod(features - num_keypoints, 3)
    others = [
        skeleton.name
        for count, skeleton in KNOWN.items()
        if count != num_keypoints and features == 3 * len(skeleton.sticks) + count
    ]
    if others or rest or sticks < 1:
        raise ValueError(
            f"got a scorer of {features} numbers a pose, that of another skeleton"
            f"{' (' + others[0] + ')' if others else ''}, expected one for "
            f"{num_keypoints} keypoints"
        )
    return {"scorer": True, "num_sticks": sticks}
