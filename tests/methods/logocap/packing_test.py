"""Which slots of an image go through message passing in training."""

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import initial_poses
from logocap_jax.methods.logocap import training
from logocap_jax.methods.logocap.assignment import Assignment


def _packed(oks, matched, budget):
    """Slots that a budget keeps, and which take part; slots are told by keypoints."""
    count = len(oks)
    names = jnp.broadcast_to(jnp.arange(float(count))[:, None, None], (count, 17, 2))
    initial = initial_poses.InitialPoses(names, jnp.zeros(count), jnp.ones(count, bool))
    truth = Assignment(
        keypoints=names,
        visible=jnp.ones((count, 17), bool),
        kam=jnp.zeros((count, 3, 3, 17)),
        slot_oks=jnp.asarray(oks),
        matched=jnp.asarray(matched),
        gain=jnp.zeros((count, 17)),
    )
    kept, kept_truth, takes_part = training._pack(initial, truth, budget=budget)
    index = np.asarray(kept.keypoints[:, 0, 0], int)
    np.testing.assert_allclose(kept_truth.slot_oks, np.asarray(oks)[index], rtol=1e-6)
    return index.tolist(), index[np.asarray(takes_part)].tolist()


@pytest.mark.parametrize(
    ("budget", "kept"), [(1, [3]), (2, [1, 3]), (3, [1, 3, 4]), (4, [1, 2, 3, 4])]
)
def test_smaller_budget_keeps_the_most_similar_matches(budget, kept):
    oks = [0.4, 0.8, 0.5, 0.9, 0.7]
    matched = [False, True, True, True, True]
    assert _packed(oks, matched, budget) == (kept, kept)


def test_slots_without_a_match_fill_the_budget_but_take_no_part():
    oks, matched = [0.49, 0.9, 0.1, 0.6], [False, True, False, True]
    index, takes_part = _packed(oks, matched, budget=3)
    assert takes_part == [1, 3]
    assert len(set(index)) == 3


@pytest.mark.parametrize("budget", [1, 3, 4])
def test_image_without_a_match_keeps_its_first_slot(budget):
    _, takes_part = _packed([0.0, 0.4, 0.3, 0.45], [False] * 4, budget)
    assert takes_part == [0]
