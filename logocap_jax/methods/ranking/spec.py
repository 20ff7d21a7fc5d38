"""The method as one of the project."""

from logocap_jax.methods.base import InputSpec, Method, MethodSpec
from logocap_jax.methods.pose_map_method import make_method
from logocap_jax.methods.ranking import stages, training
from logocap_jax.methods.ranking.config import TINY, RankingConfig
from logocap_jax.methods.scorer import STAGE_SETTINGS


def make_ranking(config: RankingConfig) -> Method:
    """Build the method.

    Its sets are `"regression"`, the regressed poses, and `"ranking"`, its answer: those
    absorbed and refined.

    Raises:
      ValueError: if there is a scorer, but the skeleton has no sticks.
    """
    return make_method(
        config,
        "ranking",
        stages=stages.make_stages,
        loss=training.loss,
        explain=stages.explain,
    )


SPEC = MethodSpec(
    config=RankingConfig,
    make=make_ranking,
    tiny=TINY,
    inputs=lambda config: InputSpec(
        mask_strides=training.mask_strides(config),
        scales=config.other_scales,
        person_size="box",
    ),
    stages=stages.make_stages,
    dense=("heatmaps", "pose_map"),
    stage_settings=STAGE_SETTINGS,
)
