"""DEKR as a method of the project."""

from logocap_jax.methods.base import InputSpec, Method, MethodSpec
from logocap_jax.methods.dekr import stages, training
from logocap_jax.methods.dekr.config import TINY, DekrConfig
from logocap_jax.methods.pose_map_method import make_method
from logocap_jax.methods.scorer import STAGE_SETTINGS


def make_dekr(config: DekrConfig) -> Method:
    """Build the method; its only set is `"dekr"`.

    Raises:
      ValueError: if there is a scorer, but the skeleton has no sticks.
    """
    return make_method(
        config,
        "dekr",
        stages=stages.make_stages,
        loss=training.loss,
        explain=stages.explain,
        finding={"decoder": "official"},
    )


SPEC = MethodSpec(
    config=DekrConfig,
    make=make_dekr,
    tiny=TINY,
    inputs=lambda config: InputSpec(
        scales=config.other_scales,
        person_size=training.person_size(config),
        multiple=config.rules.multiple,
        rounding=config.rules.rounding,
    ),
    stages=stages.make_stages,
    dense=("heatmaps", "pose_map"),
    stage_settings=STAGE_SETTINGS,
)
