"""The scorer's net, its stage at test time, and its loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.inference.pose_features import pose_features
from logocap_jax.methods import scorer
from logocap_jax.skeletons import COCO, Skeleton
from logocap_jax.structures import LabelledPoses, Poses


@dataclasses.dataclass(frozen=True)
class Config:
    skeleton: Skeleton = COCO
    scorer: bool = True
    quirks: str = "reference"


@pytest.fixture(scope="module")
def variables():
    fresh = {"params": {}, "batch_stats": {}}
    return scorer.fresh_scorer(fresh, Config(), jax.random.key(0))


def draw(seed=0, batch=2, slots=3):
    rng = np.random.default_rng(seed)
    poses = Poses(
        keypoints=rng.uniform(0, 200, (batch, slots, 17, 2)).astype(np.float32),
        keypoint_scores=rng.random((batch, slots, 17), np.float32),
        scores=rng.random((batch, slots), np.float32),
        valid=np.ones((batch, slots), bool),
    )
    return jax.tree.map(jnp.asarray, poses)


def test_fresh_weights_fill_their_range_and_biases_are_zero(variables):
    net = variables["params"]["scorer"]
    shapes = {name: layer["kernel"].shape for name, layer in net.items()}
    assert shapes == {"l1": (74, 256), "l2": (256, 256), "l3": (256, 1)}
    for layer in net.values():
        limit = np.sqrt(3 / layer["kernel"].shape[0])
        assert 0.98 * limit < np.abs(layer["kernel"]).max() <= limit
        assert not layer["bias"].any()


def test_without_a_scorer_nothing_is_added():
    fresh = {"params": {}, "batch_stats": {}}
    assert scorer.fresh_scorer(fresh, Config(scorer=False), jax.random.key(0)) == fresh
    assert not scorer.train_stages(Config(scorer=False), *unused())


def test_the_net_is_three_layers_without_a_bound(variables):
    net = jax.tree.map(np.asarray, variables["params"]["scorer"])
    x = np.random.default_rng(0).normal(size=(5, 74)).astype(np.float32)
    hidden = np.maximum(x @ net["l1"]["kernel"], 0)
    hidden = np.maximum(hidden @ net["l2"]["kernel"], 0)
    expected = (hidden @ net["l3"]["kernel"])[:, 0]
    found = scorer.predict_oks(variables, jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (expected < 0).any() or (expected > 1).any()
    assert scorer.predict_oks(variables, jnp.full((1, 74), jnp.nan)) == 0


def test_scores_are_multiplied_by_what_the_pose_in_the_image_is_worth(variables):
    stage, poses = scorer.scoring_stage(Config()), draw()
    turn = np.array([[0, -2, 30], [2, 0, 5]], np.float32)  # to the image
    transforms = np.stack([turn, np.eye(2, 3, dtype=np.float32)])
    sets, features, oks = stage.run(variables, {"a": poses}, jnp.asarray(transforms))
    for i, transform in enumerate(transforms):
        for j in range(3):
            points = poses.keypoints[i, j] @ transform[:, :2].T + transform[:, 2]
            scores = poses.keypoint_scores[i, j]
            expected = pose_features(jnp.asarray(points), jnp.asarray(scores), COCO)
            np.testing.assert_allclose(features["a"][i, j], expected, atol=1e-4)
    np.testing.assert_allclose(sets["a"].scores, poses.scores * oks["a"], rtol=1e-6)
    for name in ("keypoints", "keypoint_scores", "valid"):
        np.testing.assert_array_equal(getattr(sets["a"], name), getattr(poses, name))


def test_without_a_way_to_the_image_poses_are_measured_in_the_input(variables):
    stage, poses = scorer.scoring_stage(Config()), draw(1)
    identity = jnp.broadcast_to(jnp.eye(2, 3), (2, 2, 3))
    unknown, known = (
        stage.run(variables, {"a": poses}, way)[0] for way in (None, identity)
    )
    np.testing.assert_array_equal(unknown["a"].scores, known["a"].scores)


@pytest.mark.parametrize(("quirks", "last"), [("reference", 0.0), ("fixed", 1.0)])
def test_a_label_of_one_counts_as_none(variables, quirks, last):
    poses = draw(2, batch=1, slots=3)
    oks = jnp.asarray([0.25, 0.999, 1.0])
    batch = LabelledPoses(poses.keypoints[0], poses.keypoint_scores[0], oks)
    found = scorer.scorer_loss(Config(quirks=quirks))(
        variables, batch, jax.random.key(0)
    )
    features = jax.vmap(lambda x, v: pose_features(x, v, COCO))(
        batch.keypoints, batch.keypoint_scores
    )
    predicted = scorer.predict_oks(variables, features)
    expected = np.mean((predicted - np.array([0.25, 0.999, last])) ** 2)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    assert found.batch_stats == variables["batch_stats"]


def test_keypoints_without_sticks_are_refused():
    bare = Skeleton("dots", ("a", "b"), (0.1, 0.1), ())
    with pytest.raises(ValueError, match="'dots', a keypoint set without sticks"):
        scorer.train_stages(Config(bare), *unused())


def unused():
    """A loss and a maker that nobody calls."""
    return scorer.scorer_loss(Config()), lambda config: pytest.fail("built")
