"""A row of the paper's ablations, of W32 on COCO or of a small net.

    python train.py --config configs/ablations.py:mesh7 --workdir runs/mesh7 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    python train.py --config configs/ablations.py:mesh7,drawn --workdir runs/mesh7 \
        --config.data.dir=demo/data

`experiments/variants.py` has the rows' names; `python -m experiments.ablations` trains
and scores several, with several seeds, and makes the table: docs/experiments.md.
"""

from ml_collections import ConfigDict

from configs import demo, drawn, logocap_w32_coco
from experiments.variants import VARIANTS

BASES = {"w32": logocap_w32_coco, "demo": demo, "drawn": drawn}


def get_config(choice: str = "full") -> ConfigDict:
    """The config of `VARIANT` or `VARIANT,BASE`.

    Raises:
      ValueError: if either is unknown.
    """
    variant, _, base = choice.partition(",")
    for got, known in ((variant, VARIANTS), (base or "w32", BASES)):
        if got not in known:
            raise ValueError(
                f"configs/ablations.py:{choice}: got {got!r}, expected one of "
                f"{', '.join(known)}"
            )
    config = BASES[base or "w32"].get_config()
    VARIANTS[variant].apply(config)
    return config
