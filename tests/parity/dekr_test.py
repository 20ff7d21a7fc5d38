"""Parity of DEKR on cases with other options than those of the folder."""

import numpy as np
import pytest

from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.parity.runner import run_cases
from tests.parity.pose_map_case import (
    channels_first,
    make_model,
    run_case,
    to_image,
)

WANTED = ("heatmaps_raw", "heatmaps", "pose_map", "fused", "centers", "center_values")
WANTED += ("center_valid", "candidates", "heat", "kept", "valid", "poses", "outputs")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Settings, variables, and a folder that holds the weights."""

    def adjust(path, values, rng):
        del rng
        return np.abs(values) if "heatmap_head/output" in path else values

    folder = tmp_path_factory.mktemp("dekr")
    return *make_model(folder, "dekr", {"keypoint_channels": 2}, adjust), folder


def make_case(config, variables, **options):
    """A case as the reference would dump it, from this project's own stages."""
    arrays, found, config = run_case(make_stages, config, variables, WANTED, **options)
    valid, slots = found["center_valid"][0], config.num_slots
    widths = np.repeat(arrays["input_sizes"][:, 1] // 4, slots)
    x, y = found["centers"][0].T.astype(int)
    mine = found["valid"][0]
    kept = found["kept"][0][mine]
    poses, final = found["poses"], found["outputs"]["dekr"]
    arrays |= {
        "heatmaps_raw": np.moveaxis(found["heatmaps_raw"], -1, 1),
        "shown_fused": np.array([0, 17]),
        "fused": channels_first(found["fused"][0])[[0, 17]],
        "centers_index": (y * widths + x)[valid],
        "centers_score": found["center_values"][0][valid],
        "centers_per_scale": valid.reshape(-1, slots).sum(axis=1),
        "poses_regressed": found["candidates"][0][valid],
        "pose_heat_score": found["heat"][0].mean(axis=-1)[valid],
        "nms_keep": (np.cumsum(valid) - 1)[kept],
        "poses_nms": np.concatenate(
            [poses.keypoints[0], poses.keypoint_scores[0][..., None]], axis=-1
        )[mine],
        "scores_before": poses.scores[0][mine],
        "final_keypoints": np.concatenate(
            [to_image(final.keypoints[0]), final.keypoint_scores[0][..., None]], axis=-1
        )[mine],
        "final_scores": final.scores[0][mine],
    }
    if len(config.scales) == 1:
        arrays["heatmaps"] = channels_first(found["heatmaps"][0])
        pose_map = found["pose_map"][0]
        arrays["posemap"] = channels_first(pose_map.reshape(*pose_map.shape[:2], -1))
    return arrays


CASES = {
    "infer_1": {},
    "infer_1_no_flip": {"flip_test": False, "center_threshold": 0.05},
    "infer_1_no_flip_matching": {"flip_test": False, "matching": True},
    "infer_1_multi_scale": {"test_scales": (0.5, 1.0, 2.0)},
}


@pytest.mark.parametrize("name", CASES)
def test_cases_of_any_options_pass(name, model):
    config, variables, folder = model
    options = {"center_threshold": 1e-3} | CASES[name]
    arrays = make_case(config, variables, **options)
    assert len(arrays["centers_index"]) > 1
    assert len(arrays["nms_keep"]) > 1
    arrays["center_threshold"] = np.float64(options["center_threshold"])
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    (results,) = run_cases(folder)
    path.unlink()
    assert results
    assert [result for result in results if result.passed is False] == []
    stages = {(result.stage, result.fed_with) for result in results}
    assert {("fused", "input"), ("final keypoints", "input")} <= stages


OTHER_VALUES = {
    "heatmaps_raw": "heatmaps_raw",
    "fused": "fused",
    "centers_index": "centers",
    "poses_regressed": "candidates",
    "nms_keep": "kept by NMS",
    "scores_before": "scores before the scorer",
    "final_keypoints": "final keypoints",
}


def test_other_values_fail(model, case_arrays):
    *_, folder = model
    changed = {name: np.array(case_arrays[name]) for name in OTHER_VALUES}
    for array in changed.values():
        array[..., 0] += 2 if array.dtype.kind == "f" else 1
    path = folder / "infer_1.npz"
    np.savez(path, **{**case_arrays, **changed})
    (results,) = run_cases(folder)
    path.unlink()
    failed = {result.stage for result in results if result.passed is False}
    assert set(OTHER_VALUES.values()) <= failed


@pytest.fixture(scope="module")
def case_arrays(model):
    config, variables, _ = model
    arrays = make_case(config, variables, flip_test=False, center_threshold=1e-3)
    return {**arrays, "center_threshold": np.float64(1e-3), "flip_test": np.False_}


def test_inputs_are_made_from_the_photograph(model, case_arrays):
    *_, folder = model
    image = np.random.default_rng(2).integers(0, 255, (32, 64, 3), np.uint8)
    path = folder / "infer_1.npz"
    np.savez(path, **case_arrays, image=image)
    (results,) = run_cases(folder)
    path.unlink()
    assert (results[0].stage, results[0].fed_with) == ("input", "image")
    assert not results[0].passed  # the case has drawn inputs
    assert all(result.passed for result in results[1:])


def test_a_case_without_an_input_is_refused(model, case_arrays):
    *_, folder = model
    path = folder / "infer_1.npz"
    np.savez(path, **{k: v for k, v in case_arrays.items() if k != "input"})
    with pytest.raises(ValueError, match=r"infer_1.npz: got inputs at scales \[\]"):
        list(run_cases(folder))
    path.unlink()
