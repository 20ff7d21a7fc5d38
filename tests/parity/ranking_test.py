"""Parity of ranking on cases with other options than those of the folder."""

from typing import NamedTuple

import numpy as np
import pytest

from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.pose_map_cases import Case
from logocap_jax.parity.ranking.arrays import DENSE, block_arrays
from logocap_jax.parity.ranking.poses import PoseChecks
from logocap_jax.parity.runner import run_cases
from tests.parity.pose_map_case import (
    channels_first,
    make_model,
    run_case,
    suffix,
    to_image,
)

SLOTS = (
    *("regressed", "center_scores", "regression_scores"),
    *("absorbed", "absorbed_scores", "refined", "refined_scores"),
)
WANTED = (
    *(*DENSE, "heatmap_blocks", "offset_block", "heatmaps", "pose_map", "fused"),
    *("centers", "center_valid", "candidates", "valid", "peaks", "peak_values"),
    *(*SLOTS, "outputs"),
)
THRESHOLD = 0.02


def _adjust(path, values, rng):
    """Centres are found, a few px from their keypoints."""
    if "output" in path:
        values = np.abs(values)
    if "offset_head/output" in path:  # the centre's is the last
        values[..., :-1] = 0.2 * rng.normal(size=values[..., :-1].shape)
    return values


def make_small(folder, fine_hidden):
    """Settings and variables, whose weights lie in the folder."""
    settings = {"offset_hidden": 4, "fine_hidden": fine_hidden}
    return make_model(folder, "ranking", settings, _adjust)


def make_case(config, variables, **options):
    """A case as the reference would dump it, from this project's own stages."""
    wanted = (*WANTED, "all_heatmaps", "all_pose_maps")
    arrays, found, config = run_case(make_stages, config, variables, wanted, **options)
    both = zip(found["all_heatmaps"], found["all_pose_maps"], strict=True)
    maps = dict(zip(config.scales, both, strict=True))
    arrays |= _centers(config, found, maps)
    arrays |= _poses(found)
    arrays |= {
        "shown_fused": np.array([0, 5]),
        "fused": channels_first(found["fused"][0])[[0, 5]],
        "heat1_T2": channels_first(block_arrays(found)["heat1_T2"][0]),
        "reg_unit2": channels_first(block_arrays(found)["reg_unit2"][0]),
    }
    for scale, (heatmaps, poses) in maps.items():
        name = suffix(config, scale)
        arrays[f"heatmaps{name}"] = channels_first(heatmaps[0])
        flat = poses[0].reshape(*poses.shape[1:3], -1)
        arrays[f"posemap{name}"] = channels_first(flat)
    return arrays


def _centers(config, found, maps):
    """Centres with the values of their own maps."""
    valid = found["center_valid"][0]
    index, values = [], []
    scales, centers = config.scales, found["centers"][0].astype(int)
    for scale, cells in zip(scales, np.split(centers, len(scales)), strict=True):
        x, y = cells.T
        heat = maps[scale][0][0, ..., -1]
        index.append(y * heat.shape[1] + x)
        values.append(heat[y, x])
    return {
        "centers_index": np.concatenate(index)[valid],
        "centers_score": np.concatenate(values)[valid],
        "centers_per_scale": valid.reshape(len(scales), -1).sum(axis=1),
        "poses_regressed": found["candidates"][0][valid],
    }


def _poses(found):
    rows = found["valid"][0]
    slots = {name: found[name][0][rows] for name in SLOTS}

    def scored(points, scores):
        return np.concatenate([points, scores[..., None]], axis=-1)

    center = slots["center_scores"]
    repeated = np.broadcast_to(center[:, None], slots["absorbed_scores"].shape)
    arrays = {
        "poses_nms": scored(slots["regressed"], repeated),
        "nms_center_scores": center,
        "poses_nms_regression_only": scored(
            slots["regressed"], slots["regression_scores"]
        ),
        "candidates_xy": found["peaks"][0].astype(int),
        "candidates_value": found["peak_values"][0],
        "poses_absorbed": scored(slots["absorbed"], slots["absorbed_scores"]),
        "absorbed_tied": np.zeros(slots["absorbed_scores"].shape, bool),
        "poses_adjusted": scored(slots["refined"], slots["refined_scores"]),
    }
    for name, label in (("ranking", "final"), ("regression", "regression")):
        poses = found["outputs"][name]
        points = to_image(poses.keypoints[0][rows])
        arrays[f"{label}_keypoints"] = scored(points, poses.keypoint_scores[0][rows])
        arrays[f"{label}_scores_before"] = poses.scores[0][rows]
    return arrays


def failures(results):
    return {result.stage for result in results if result.passed is False}


CASES = {
    "infer_1_no_flip": (3, {"flip_test": False}),
    "infer_1_multi_scale": (0, {"test_scales": (0.5, 1.0, 2.0)}),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_of_any_options_pass_and_other_values_fail(name, tmp_path):
    fine_hidden, options = CASES[name]
    config, variables = make_small(tmp_path, fine_hidden)
    arrays = make_case(config, variables, center_threshold=THRESHOLD, **options)
    assert len(arrays["centers_index"]) > 1
    assert len(arrays["poses_nms"]) > 1
    np.savez(tmp_path / f"{name}.npz", **arrays, center_threshold=THRESHOLD)
    changed = {key: np.array(arrays[key]) for key in OTHER_VALUES}
    for array in changed.values():
        array[..., 0] += 2
    other = arrays | changed
    np.savez(tmp_path / f"other_{name}.npz", **other, center_threshold=THRESHOLD)
    results, others = run_cases(tmp_path)
    assert not failures(results)
    stages = {(result.stage, result.fed_with) for result in results}
    for stage in ("fused", "absorbed", "refined", "ranking keypoints", "heat1_T2"):
        assert (stage, "input") in stages
    assert ("ranking keypoints", "poses_adjusted") in stages
    assert set(OTHER_VALUES.values()) <= failures(others)


OTHER_VALUES = {
    "heat1_T2": "heat1_T2",
    "fused": "fused",
    "poses_regressed": "candidates",
    "poses_nms": "poses after NMS",
    "candidates_value": "candidate values",
    "poses_absorbed": "absorbed",
    "poses_adjusted": "refined",
    "final_keypoints": "ranking keypoints",
    "regression_scores_before": "regression_scores_before",
}


class Steps(NamedTuple):
    """Our arrays of three poses of two keypoints, and the reference's: equal."""

    ours: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]

    def check(self, step):
        """Results of a step, and the keypoints that it leaves."""
        compare = Comparison("case")
        case = Case("case", self.arrays, (1.0,), {}, {}, {})
        checks = PoseChecks(case, compare)
        rows, ties = checks.rows(self.ours)
        if step == "slots":
            return compare, checks.slots(self.ours, self.ours, rows, ties, "input")
        kept = checks.absorption(self.ours, rows, "input")
        if step == "refinement":
            kept = checks.refinement(self.ours, rows, kept, "input")
        return compare, kept


@pytest.fixture
def steps():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 50, (4, 3, 2, 2)).astype("f")
    points[3] = points[2] + 1  # refined: near where they were absorbed
    scores = rng.uniform(0.1, 1, (4, 3, 2)).astype("f")
    center = np.array([0.9, 0.5, 0.5], "f")
    ours = {
        "valid": np.ones((1, 3), bool),
        "regressed": points[0][None],
        "center_scores": center[None],
        "regression_scores": scores[0][None],
        "absorbed": points[2][None],
        "absorbed_scores": scores[2][None],
        "refined": points[3][None],
        "refined_scores": scores[3][None],
    }
    scored = np.concatenate([points, scores[..., None]], axis=-1)
    arrays = {
        "poses_nms": scored[0],
        "nms_center_scores": center,
        "poses_absorbed": scored[2],
        "poses_adjusted": scored[3],
        "absorbed_tied": np.zeros((3, 2), bool),
    }
    return Steps(ours, {name: array.copy() for name, array in arrays.items()})


@pytest.mark.parametrize("step", ["slots", "absorption", "refinement"])
def test_equal_poses_pass(steps, step):
    compare, kept = steps.check(step)
    assert compare.results
    assert not failures(compare.results)
    assert kept is None or kept.all()


def test_poses_of_equal_scores_may_change_places(steps):
    for array in steps.arrays.values():
        array[1:] = array[:0:-1].copy()
    compare, _ = steps.check("slots")
    assert not failures(compare.results)
    assert "2 ties" in {result.note for result in compare.results}


def test_poses_of_other_scores_may_not(steps):
    for array in steps.arrays.values():
        array[:2] = array[1::-1].copy()
    assert "poses after NMS" in failures(steps.check("slots")[0].results)


def test_an_absorbed_keypoint_that_ties_is_told_and_left_out(steps):
    steps.arrays["poses_absorbed"][1, 1] += 5
    assert failures(steps.check("absorption")[0].results) == {"absorbed"}
    steps.arrays["absorbed_tied"][1, 1] = True
    compare, kept = steps.check("absorption")
    assert not failures(compare.results)
    assert np.argwhere(~kept).tolist() == [[1, 1]]
    assert "1 ties" in {result.note for result in compare.results}


def test_a_fit_that_ends_far_off_is_told_and_left_out(steps):
    steps.arrays["poses_adjusted"][2, 0, 0] += 0.5
    assert failures(steps.check("refinement")[0].results) == {"refined"}
    steps.arrays["poses_adjusted"][2, 0, 0] += 3
    compare, kept = steps.check("refinement")
    assert not failures(compare.results)
    assert np.argwhere(~kept).tolist() == [[2, 0]]
    assert "1 ill-posed fits" in {result.note for result in compare.results}


def test_another_number_of_poses_fails(steps):
    for name in ("poses_nms", "nms_center_scores", "poses_absorbed", "poses_adjusted"):
        steps.arrays[name] = steps.arrays[name][:2]
    assert "poses after NMS" in failures(steps.check("slots")[0].results)
    found = failures(steps.check("refinement")[0].results)
    assert {"absorbed", "refined"} <= found


@pytest.mark.slow
@pytest.mark.parity
def test_arrays_of_the_release_are_met(shared_dir):
    cases = [*run_cases(shared_dir / "siblings" / "dekr" / "ranking")]
    assert len(cases) == 4
    assert not any(failures(results) for results in cases)
