"""The scorer: a net that predicts a pose's OKS (specification, 4), for any method.

Settings of the method say if there is one (`scorer`). The method adds `fresh_scorer` to
its variables, ends its stages with `scoring_stage`, and lists `PARTS`, `train_stages`
and `STAGE_SETTINGS`; rows and file of its weights are in `methods/scorer_weights.py`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logocap_jax.inference.pose_features import num_pose_features, pose_features
from logocap_jax.methods.base import (
    LossFn,
    LossOutput,
    Method,
    Part,
    Stage,
    TrainStage,
    Variables,
)
from logocap_jax.models.scorer import Scorer
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import LabelledPoses, Poses

PARTS = (Part("dense", ("dense",)), Part("scorer", ("scorer",), optional=True))
"""The parts of a model of dense maps and, maybe, a scorer."""

STAGE_SETTINGS: dict[str, dict[str, Any]] = {
    "scorer": {
        "method.scorer": True,
        "batch_size": 1024,  # rows: each pose counts once for each range of areas
        "epochs": 20.0,
        "accumulate": 1,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "learning_rate": 1e-3,
        "lr_scaling": "none",
        "lr_milestones": (),
        "lr_warmup": 0.0,
        "eval_every": 5.0,
    }
}
"""`MethodSpec.stage_settings`: the reference's (specification, 4)."""


@runtime_checkable
class ScorerConfig(Protocol):
    """The settings of a method that a scorer needs."""

    @property
    def skeleton(self) -> Skeleton:
        """Keypoints of the data set."""

    @property
    def scorer(self) -> bool:
        """True if there is one."""

    @property
    def quirks(self) -> str:
        """`reference`: slips of the release are kept; `fixed`: they are not."""


def check_sticks(skeleton: Skeleton) -> None:
    """Check that the poses of a skeleton can be scored.

    Raises:
      ValueError: if it has no sticks.
    """
    if not skeleton.sticks:
        raise ValueError(
            f"got scorer=True for skeleton {skeleton.name!r}, a keypoint set without "
            "sticks for the scorer; expected `skeleton`, pairs of keypoints, in the "
            "annotations' category"
        )


def fresh_scorer(variables: Variables, config: ScorerConfig, key: Array) -> Variables:
    """Add a scorer to fresh variables, if the settings ask for one."""
    if not config.scorer:
        return variables
    features = jnp.zeros((1, num_pose_features(config.skeleton)))
    scorer = Scorer().init(key, features)["params"]
    return {**variables, "params": {**variables["params"], "scorer": scorer}}


def scoring_stage(config: ScorerConfig, *, reads: str = "unscored") -> Stage:
    """The last stage: pose scores times predicted OKS.

    It reads result sets of poses in input px (the array `reads`) and `input_to_image`
    of the `View`, and writes them as `outputs`. Where the way to the image is unknown
    input px count as image px: no matter but for poses of a few px.
    """

    def run(
        variables: Variables,
        sets: Mapping[str, Poses],
        input_to_image: Float[Array, "B 2 3"] | None,
    ) -> tuple[dict[str, Poses], dict[str, Array], dict[str, Array]]:
        features = {
            name: _features(poses, input_to_image, config)
            for name, poses in sets.items()
        }
        oks = {name: predict_oks(variables, x) for name, x in features.items()}
        scored = {
            name: dataclasses.replace(poses, scores=poses.scores * oks[name])
            for name, poses in sets.items()
        }
        return scored, features, oks

    writes = ("outputs", "pose_features", "predicted_oks")
    return Stage("scorer", (reads, "input_to_image"), writes, run)


def _features(
    poses: Poses, input_to_image: Float[Array, "B 2 3"] | None, config: ScorerConfig
) -> Float[Array, "B N F"]:
    keypoints = poses.keypoints
    if input_to_image is not None:
        # Without the translation, which features do not see: it would cost digits.
        keypoints = jnp.einsum(
            "bnki,bji->bnkj",
            keypoints,
            input_to_image[:, :, :2],
            precision=jax.lax.Precision.HIGHEST,
        )
    return describe_poses(keypoints, poses.keypoint_scores, config)


def describe_poses(
    keypoints: Float[Array, "*B K 2"],
    keypoint_scores: Float[Array, "*B K"],
    config: ScorerConfig,
) -> Float[Array, "*B F"]:
    """The features of poses, see `pose_features`."""

    def describe(points: Array, scores: Array) -> Array:
        return pose_features(points, scores, config.skeleton, quirks=config.quirks)

    return jnp.vectorize(describe, signature="(k,d),(k)->(f)")(
        keypoints, keypoint_scores
    )


def predict_oks(
    variables: Variables, features: Float[Array, "*B F"]
) -> Float[Array, "*B"]:
    """The OKS that the net predicts; NaN counts 0 (reference behaviour)."""
    oks = _run_net(variables, features)
    return jnp.where(jnp.isnan(oks), 0.0, oks)


def _run_net(variables: Variables, features: Float[Array, "*B F"]) -> Array:
    net: Any = Scorer()
    return net.apply({"params": variables["params"]["scorer"]}, features)


def labels(oks: Float[Array, "*B"], *, quirks: str) -> Float[Array, "*B"]:
    """What the net learns to predict.

    Reference behaviour: exactly 1 counts as 0. People without keypoints give it to any
    pose inside their doubled box, where nobody else counts; `fixed` keeps it.
    """
    return jnp.where(oks == 1, 0.0, oks) if quirks == "reference" else oks


def scorer_loss(config: ScorerConfig) -> LossFn:
    """The mean squared error of the predicted OKS; all else stays."""

    def loss(variables: Variables, batch: LabelledPoses, key: Array) -> LossOutput:
        del key
        features = describe_poses(batch.keypoints, batch.keypoint_scores, config)
        found = _run_net(variables, features)
        error = jnp.mean(jnp.square(found - labels(batch.oks, quirks=config.quirks)))
        return LossOutput(error, {"scorer": error}, {}, variables["batch_stats"])

    return loss


def train_stages(
    config: Any, loss: LossFn, make: Callable[[Any], Method], **finding: Any
) -> dict[str, TrainStage]:
    """The stages of training of a method whose settings ask for a scorer.

    Args:
      config: settings of the method.
      loss: that of `main`, which leaves the scorer as it is.
      make: builds the method.
      finding: further settings to find the poses with that the scorer learns from.

    Raises:
      ValueError: if the skeleton has no sticks.
    """
    if not config.scorer:
        return {}
    check_sticks(config.skeleton)
    finder = make(dataclasses.replace(config, scorer=False, **finding))
    return {
        "main": TrainStage(loss, ("dense",)),
        "scorer": TrainStage(scorer_loss(config), ("scorer",), finder),
    }
