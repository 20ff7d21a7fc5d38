import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.codecs.proposals import decode_highest
from logocap_jax.methods import build_config, find_format, find_method
from logocap_jax.methods.topdown.heads import (
    HeatmapHead,
    Labels,
    ProposalHead,
    RegressionHead,
)
from logocap_jax.methods.topdown.stages import person_score

SPEC = find_method("topdown")
RESNET = {"architecture": "resnet", "deconvolutions": (4, 4, 4)}


def small(**settings):
    resnet = {"blocks": (1, 1, 1, 1), "channels": 4, "stem_channels": 4}
    return build_config("topdown", {**SPEC.tiny, "resnet": resnet, **settings})


@pytest.mark.parametrize("head", ["sar", "heatmap", "regression"])
@pytest.mark.parametrize("backbone", [{}, RESNET])
def test_weights_tell_head_and_backbone(head, backbone):
    config = small(head=head, **backbone)
    shapes = jax.eval_shape(SPEC.make(config).init, jax.random.key(0))
    arrays = {
        "/".join(key.key for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    }
    table = find_format("topdown")
    found = table.recognise(arrays)
    assert found.pop("num_keypoints") == 17
    again = build_config("topdown", {**SPEC.tiny, **found})
    assert again.network() == config.network()
    state = table.to_torch({path: np.zeros(shape) for path, shape in arrays.items()})
    assert {*table.from_torch(state).arrays} == {*arrays}


def test_released_sizes():
    """Parameters of the heads, as the specification counts them."""
    for architecture, count in (("hrnet", 3_332), ("resnet", 10_504_772)):
        config = build_config("topdown", {"architecture": architecture})
        init = SPEC.make(config).init
        dense = jax.eval_shape(init, jax.random.key(0))["params"]["dense"]
        del dense["backbone"]
        assert sum(leaf.size for leaf in jax.tree.leaves(dense)) == count


@pytest.mark.parametrize(
    ("branch", "selector"), [(True, 0.0), (False, -np.log(99))], ids=["both", "alone"]
)
def test_confidences_start_at_a_half_beside_a_heatmap(branch, selector):
    head = ProposalHead(3, branch)
    params = head.init(jax.random.key(0), jnp.zeros((1, 2, 2, 5)))["params"]
    np.testing.assert_allclose(params["selector"]["bias"], selector, 1e-6)
    assert ("heatmap" in params) == branch
    if branch:
        np.testing.assert_allclose(params["heatmap"]["bias"], -np.log(99), 1e-6)


def test_a_batch_without_labels_has_no_loss():
    labels = Labels(jnp.full((2, 3, 2), jnp.nan), jnp.zeros((2, 3), bool))
    maps = {
        "logits": jnp.ones((2, 8, 6, 3)),
        "proposals": jnp.ones((2, 8, 6, 3, 2)),
        "heatmaps": jnp.ones((2, 8, 6, 3)),
        "points": jnp.ones((2, 3, 2)),
        "size": jnp.zeros((1, 8, 6)),
    }
    for head in (ProposalHead, HeatmapHead, RegressionHead):

        def loss(maps, head=head):
            return sum(head.losses(maps, labels).values())

        value, gradient = jax.value_and_grad(loss)(maps)
        assert value == 0
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_the_highest_cell_leans_to_its_higher_neighbour():
    heatmap = np.zeros((6, 8, 2), np.float32)
    heatmap[2, 3, 0], heatmap[2, 4, 0], heatmap[1, 3, 0] = 1, 0.5, 0.25
    heatmap[0, 7, 1] = 2  # at the border
    points, scores = decode_highest(jnp.asarray(heatmap))
    np.testing.assert_allclose(points * jnp.array([8, 6]), [[3.25, 1.75], [7, 0]], 1e-6)
    np.testing.assert_array_equal(scores, [1, 2])


def test_regression_is_the_mean_error_of_labelled_keypoints():
    maps = {"points": jnp.full((1, 2, 2), 0.5), "size": jnp.zeros((1, 8, 4))}
    labels = Labels(jnp.array([[[1.0, 2], [3, 3]]]), jnp.array([[True, False]]))
    found = RegressionHead.losses(maps, labels)["regression"]
    np.testing.assert_allclose(found, 0.25 + 0.25)


def test_a_person_is_scored_by_keypoints_above_the_threshold():
    scores = jnp.array([[0.1, 0.4, 0.8], [0.2, 0.1, 0.0]])
    np.testing.assert_allclose(person_score(scores, 0.2), [0.6, 0])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"head": "tags"}, "head='tags', expected one of"),
        ({"input_size": (100, 128)}, "multiples of 32"),
        ({"deconvolutions": (8, 8)}, "3 numbers"),
        ({"resnet": {"blocks": (1, 2)}}, "4 stages"),
    ],
)
def test_settings_without_meaning_are_refused(settings, text):
    with pytest.raises(ValueError, match=text):
        build_config("topdown", settings)
