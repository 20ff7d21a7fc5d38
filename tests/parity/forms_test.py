"""Forms of weights and their decoders: the published arrays, whole and changed."""

import shutil

import numpy as np
import pytest

from logocap_jax.parity.compare import first_failure
from logocap_jax.parity.runner import run_cases

pytestmark = pytest.mark.parity
PHOTO = "data/photos/val2017/000000217285.jpg"


@pytest.fixture
def copied(shared_dir, tmp_path):
    """Copy a case, its weights and the photograph."""

    def copy(case, *weights, photograph=True):
        folder = tmp_path / "siblings" / "mmpose"
        folder.mkdir(parents=True)
        for name in (f"ref_{case}.npz", *weights):
            shutil.copyfile(shared_dir / "siblings" / "mmpose" / name, folder / name)
        if photograph:
            (tmp_path / PHOTO).parent.mkdir(parents=True)
            shutil.copyfile(shared_dir / PHOTO, tmp_path / PHOTO)
        return folder

    return copy


def test_decoder_and_weights_of_mmpose_pass(copied):
    folder = copied("mmpose_1x", "dekr_tiny_mmpose_1x.pth", "dekr_tiny_mmpose_0x.pth")
    (results,) = run_cases(folder)
    assert first_failure(results) is None
    stages = {result.stage for result in results}
    assert {"weights", "input", "heatmaps", "features", "final keypoints"} <= stages
    assert {"kept by NMS, no scorer", "final keypoints, no mirror image"} <= stages
    assert sum(result.stage == "weights" for result in results) == 2
    # All 30 poses from mmpose's candidates, all but the tied one from the photograph.
    shapes = [r.shape for r in results if r.stage == "final keypoints"]
    assert shapes == [(29, 17, 2), (30, 17, 2)]


def test_changed_scores_fail_where_they_are(copied):
    folder = copied("mmpose_0x", "dekr_tiny_mmpose_0x.pth")
    with np.load(folder / "ref_mmpose_0x.npz") as file:
        arrays = dict(file)
    arrays["scores"] = arrays["scores"] * np.float32(1.001)
    np.savez(folder / "ref_mmpose_0x.npz", **arrays)
    (results,) = run_cases(folder)
    failed = [result.stage for result in results if not result.passed]
    assert failed == ["scores"]


@pytest.mark.parametrize(
    ("weights", "photograph", "message"),
    [
        ((), True, r"no weights dekr\*_mmpose_0x\*\.pth beside it"),
        (("dekr_tiny_mmpose_0x.pth",), False, r"no photograph data/\*/\*/000000217285"),
    ],
)
def test_what_a_case_lacks_is_said(copied, weights, photograph, message):
    folder = copied("mmpose_0x", *weights, photograph=photograph)
    with pytest.raises(ValueError, match=message):
        list(run_cases(folder))
