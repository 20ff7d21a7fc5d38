"""Cases of the adaptive convolution alone, which no weights belong to."""

import shutil

import numpy as np
import pytest

from logocap_jax.parity.runner import run_cases


@pytest.fixture(scope="module")
def given(shared_dir):
    return shared_dir / "siblings" / "dekr" / "adaptive_conv.npz"


def test_outputs_and_derivatives_are_those_of_the_releases(given, tmp_path):
    shutil.copy(given, tmp_path)
    (results,) = run_cases(tmp_path)
    assert len(results) == 34
    assert all(result.passed for result in results)
    assert {"dekr/d1/zero/grad_t", "ranking/d3/random/grad_T"} <= {
        result.stage for result in results
    }


def test_another_value_fails(given, tmp_path):
    with np.load(given) as file:
        arrays = {
            name: file[name]
            for name in file.files
            if "/" not in name or name.startswith("dekr/d1/random")
        }
    arrays["dekr/d1/random/grad_t"] *= 1 + 1e-9
    (tmp_path / "inner" / "folder").mkdir(parents=True)
    np.savez(tmp_path / "inner" / "folder" / "case.npz", **arrays)
    (results,) = run_cases(tmp_path)
    failed = [result.stage for result in results if not result.passed]
    assert failed == ["dekr/d1/random/grad_t"]
