"""A step of the ranking paper's ablation, of W32 on COCO or of a small net.

    logocap train --config ranking_steps:guidance --workdir runs/guidance \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config ranking_steps:guidance,demo --workdir runs/guidance \
        --config.data.dir=demo/data

*Bottom-Up Human Pose Estimation by Ranking Heatmap-Guided Adaptive Keypoint Estimates*,
W32 on COCO val2017. Each step has what those before it have. AP of the result sets
`regression` and `ranking`; the last step, `scorer`, is a second stage of training on a
run of `adaptive`: see `ranking_w32_coco`. Not run here.
"""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import load_config

BASES = {"w32": "ranking_w32_coco", "demo": "ranking_demo"}


class Step(NamedTuple):
    """A row of the paper's table."""

    what: str  #: in words
    paper_ap: tuple[float | None, float | None]  #: of `regression` and `ranking`
    settings: dict[str, Any]  #: of the method


_PLAIN = {"guidance": False, "background_weight": 1.0, "adaptive": False}
STEPS = {
    "plain": Step("heatmaps and regression apart", (59.6, 64.5), _PLAIN),
    "guidance": Step(
        "the regression reads heatmaps", (60.5, 64.9), _PLAIN | {"guidance": True}
    ),
    "background": Step(
        "the background of heatmaps weighs less",
        (61.5, 66.2),
        {"adaptive": False},
    ),
    "adaptive": Step("adaptive convolutions", (65.1, 67.2), {}),
    "scorer": Step("poses scored by a net", (None, 67.8), {"scorer": True}),
    # The paper: 0.3 less than with the mean of the keypoints.
    "box": Step("centres in the middle of boxes", (None, None), {"center": "box"}),
}


def get_config(choice: str = "adaptive") -> ConfigDict:
    """The config of `STEP` or `STEP,BASE`.

    Raises:
      ValueError: if either is unknown.
    """
    step, _, base = choice.partition(",")
    for got, known in ((step, STEPS), (base or "w32", BASES)):
        if got not in known:
            raise ValueError(
                f"configs/ranking_steps.py:{choice}: got {got!r}, expected one of "
                f"{', '.join(known)}"
            )
    config = load_config(BASES[base or "w32"])
    config.method.update(STEPS[step].settings)
    return config
