"""The check of a scorer's rows passes on the reference's, and fails on others."""

import numpy as np
import pytest

from logocap_jax.parity.scorer_rows import check_scorer_rows
from tests.conftest import SHARED


@pytest.fixture(params=["dekr", "ranking"])
def path(request):
    found = SHARED / "siblings" / "dekr" / request.param / "tiny" / "scorer_rows.npz"
    if not found.exists():
        pytest.skip("no arrays of the siblings")
    return found


def test_rows_labels_and_features_are_the_references(path):
    results = check_scorer_rows(path)
    assert len(results) == 6
    assert all(result.passed for result in results)


@pytest.mark.parametrize("name", ["row_oks", "label", "feature", "row_pose"])
def test_another_number_is_found(path, tmp_path, name):
    arrays = dict(np.load(path))
    arrays[name] = arrays[name].copy()
    arrays[name].flat[7] += 1e-2 * np.abs(arrays[name]).max()
    np.savez(tmp_path / "scorer_rows.npz", **arrays)
    failed = [
        r for r in check_scorer_rows(tmp_path / "scorer_rows.npz") if not r.passed
    ]
    assert name in {result.stage for result in failed}


def test_a_case_without_an_array_is_named(path, tmp_path):
    arrays = dict(np.load(path))
    del arrays["gt_box_217285"]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"a\.npz: no array 'gt_box_217285'"):
        check_scorer_rows(tmp_path / "a.npz")
