import numpy as np
import pytest

from logocap_jax.evaluation.pckh import pckh


@pytest.fixture(scope="module")
def case(shared_dir):
    with np.load(shared_dir / "siblings/sar/parity/pckh.npz") as file:
        return dict(file)


def scores(case, limit, inclusive):
    found, truth = case["pred_0based"] + 1, case["gt_1based"]
    rest = {"limit": limit, "inclusive": inclusive}
    return [*pckh(found, truth, case["visible"], case["headboxes"], **rest).values()]


def test_both_conventions_are_those_of_their_codes(case):
    for name, limit, inclusive in (("hrnet", 0.11, True), ("mmpose", 0.10, False)):
        values = case[f"{name}_values"]
        np.testing.assert_allclose(scores(case, 0.5, inclusive), values[:8], atol=1e-6)
        fine = scores(case, limit, inclusive)[-1]
        np.testing.assert_allclose(fine, values[8], atol=1e-6)


def test_a_keypoint_at_the_limit_counts_only_where_it_may():
    # A diagonal of 5 px makes a head of 3 px; the keypoint is 1.5 px off.
    boxes, labelled = np.array([[[0.0, 0], [3, 4]]]), np.ones((1, 16), bool)
    truth = np.zeros((1, 16, 2))
    found = truth + np.array([1.5, 0])
    for inclusive, expected in ((True, 100), (False, 0)):
        values = pckh(found, truth, labelled, boxes, limit=0.5, inclusive=inclusive)
        assert set(values.values()) == {expected}


def test_pelvis_and_thorax_are_not_in_the_mean_and_nobody_has_no_score():
    boxes, truth = np.array([[[0.0, 0], [3, 4]]]), np.zeros((1, 16, 2))
    found = truth.copy()
    found[:, 6:8] = 99
    labelled = np.ones((1, 16), bool)
    assert pckh(found, truth, labelled, boxes, limit=0.5)["mean"] == 100
    assert np.isnan(pckh(found, truth, ~labelled, boxes, limit=0.5)["mean"])
