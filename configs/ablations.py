"""A row of the paper's ablations, of W32 on COCO or of a small net.

    logocap train --config ablations:mesh7 --workdir runs/mesh7 \
        --config.data.dir=/data/coco_keypoints --config.init_from=IMAGENET_HRNET.pth
    logocap train --config ablations:mesh7,drawn --workdir runs/mesh7 \
        --config.data.dir=demo/data

`python -m experiments.ablations` trains and scores several rows, with several seeds,
and makes the table: docs/experiments.md.

*Learning Local-Global Contextual Adaptation for Multi-Person Pose Estimation*, CVPR
2022, W32 on COCO val2017. Where a row's name leaves open what it was, our reading:
`oks` and `reweighing` have the one and lack the other; without the OKS loss the
attraction maps are learnt through the refined maps alone; `message1` has one 3x3
convolution before the 1x1 one, and so no place for the attentive norm; `kem_only` and
`kam_only` are read off the full model.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method, load_config

BASES = {"w32": "logocap_w32_coco", "demo": "demo", "drawn": "drawn"}

_NO_OKS_LOSS = {"kam_loss_weight": 0.0}
_NO_REWEIGHING = {"window_sigma": None}
_NO_ATTENTION = {"attentive_layer": None}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a table."""

    what: str  #: in words
    paper_ap: float  #: the paper's, in percent
    method: str = "logocap"  #: LOGO-CAP, or its baseline
    #: Settings of the method that it is trained with.
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Settings of the method that count at test time alone.
    test: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: 3x3 convolutions of message passing; None: as many as there are.
    message_layers: int | None = None

    @property
    def answer(self) -> str:
        """The result set that the row is about."""
        return "logocap" if self.method == "logocap" else "initial"

    @property
    def trained_with(self) -> tuple[Any, ...]:
        """The settings that rows of one run share."""
        return self.method, self.training, self.message_layers

    def apply(self, config: ConfigDict) -> None:
        """Change a config of LOGO-CAP to this row's."""
        if self.method != config.method.name:
            change_method(config, self.method)
        config.method.update({**self.training, **self.test})
        if self.message_layers is not None:
            channels = config.method.message_channels
            config.method.message_channels = channels[: self.message_layers]


# Result sets of the full model, as Table 1 of the paper has them, with its AP (W32, on
# the images of COCO val2017 in which somebody has keypoints); those beside the answer.
TABLE_1_OF = "full"
TABLE_1 = {
    "initial": ("initial poses", 60.1),
    "logocap": ("LOGO-CAP", 70.0),
    "bound": ("the best of each mesh", 88.9),
}
SIDES = {"initial": "initial poses", "bound": "bound"}

VARIANTS = {
    "baseline": Variant("initial poses", 60.0, method="center_offset"),
    "oks": Variant("OKS loss", 66.1, training=_NO_REWEIGHING | _NO_ATTENTION),
    "reweighing": Variant("reweighing", 67.6, training=_NO_OKS_LOSS | _NO_ATTENTION),
    "oks_reweighing": Variant("OKS loss, reweighing", 69.0, training=_NO_ATTENTION),
    "full": Variant("OKS loss, reweighing, attentive norm; 11x11; 3+1 layers", 69.6),
    "mesh7": Variant("mesh 7x7", 68.4, training={"mesh_size": 7}),
    "mesh15": Variant("mesh 15x15", 69.3, training={"mesh_size": 15}),
    "mesh19": Variant("mesh 19x19", 69.0, training={"mesh_size": 19}),
    "message1": Variant(
        "message passing of 1 layer",
        68.8,
        training=_NO_ATTENTION,
        message_layers=1,
    ),
    "kem_only": Variant("global KEM only", 59.4, test={"refine_with": "kem"}),
    "kam_only": Variant("local KAM only", 65.7, test={"refine_with": "kam"}),
}


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
    config = load_config(BASES[base or "w32"])
    VARIANTS[variant].apply(config)
    return config
