"""Parity of ranking on cases with other options than those of the folder."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config, find_format
from logocap_jax.methods.ranking.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.parity.compare import Comparison
from logocap_jax.parity.pose_map_cases import Case
from logocap_jax.parity.ranking.arrays import DENSE, block_arrays
from logocap_jax.parity.ranking.poses import PoseChecks
from logocap_jax.parity.runner import run_cases
from logocap_jax.weights.trees import flatten, unflatten

BACKBONE = {
    **{"channels": 4, "stem_channels": 4, "layer1_channels": 4, "layer1_blocks": 1},
    **{"modules": (1, 1, 1), "blocks": 1},
}
SIZE = (64, 128)
SLOTS = (
    *("regressed", "center_scores", "regression_scores"),
    *("absorbed", "absorbed_scores", "refined", "refined_scores"),
)
WANTED = (
    *(*DENSE, "heatmap_blocks", "offset_block", "heatmaps", "pose_map", "fused"),
    *("centers", "center_valid", "candidates", "valid", "peaks", "peak_values"),
    *(*SLOTS, "outputs"),
)
AFFINE = np.array([[0.5, 0, 3], [0, 0.5, -2]])
THRESHOLD = 0.02


def _draw(shapes):
    """Weights under which activations keep their size, and centres are found."""
    rng, arrays = np.random.default_rng(0), {}
    for path, leaf in flatten(shapes).items():
        collection, _, rest = path.partition("/")
        fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
        values = rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5
        if leaf.ndim == 1:
            values = ("bias" not in path and "mean" not in path) + 0.1 * values
        if "output" in path:
            values = np.abs(values)
        if "offset_head/output" in path:  # few px; the centre's is the last
            values[..., :-1] = 0.2 * rng.normal(size=values[..., :-1].shape)
        arrays[f"{collection}/dense/{rest}"] = values.astype("f")
    return arrays


def make_model(folder, fine_hidden):
    """Settings and variables, whose weights lie in the folder."""
    settings = {"backbone": BACKBONE, "heatmap_hidden": 4, "offset_hidden": 4}
    config = build_config("ranking", settings | {"fine_hidden": fine_hidden})
    shapes = jax.eval_shape(
        lambda: config.network().init(
            jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False
        )
    )
    arrays = _draw(shapes)
    np.savez(folder / "weights.npz", **find_format("ranking").to_torch(arrays))
    return config, unflatten(arrays)


def _first(array):
    return np.moveaxis(np.asarray(array), -1, 0)


def make_case(config, variables, **options):
    """A case as the reference would dump it, from this project's own stages."""
    config = dataclasses.replace(config, **options)
    scales = sorted(map(float, config.test_scales), reverse=True)
    rng = np.random.default_rng(1)
    inputs = {
        s: rng.normal(size=(1, *(int(side * s) for side in SIZE), 3)).astype("f")
        for s in scales
    }
    given = {
        "input": inputs[1.0],
        "scaled_input": tuple(inputs[s] for s in config.other_scales),
        "valid_size": None,
        "input_to_image": None,
    }
    scaled = ("scaled_maps",) if config.other_scales else ()
    run = jax.jit(lambda *args: run_stages(make_stages(config), *args, WANTED + scaled))
    found = jax.device_get(run(variables, given))
    maps = dict(zip(config.other_scales, found.get("scaled_maps", ()), strict=True))
    maps[1.0] = (found["heatmaps"], found["pose_map"])
    sizes = np.array([inputs[s].shape[1:3] for s in scales])
    arrays = {"affine": AFFINE, "base_size": np.array(SIZE[::-1]), "input_sizes": sizes}
    arrays |= _centers(config, found, maps, scales)
    arrays |= _poses(found)
    arrays |= {
        "shown_fused": np.array([0, 5]),
        "fused": _first(found["fused"][0])[[0, 5]],
        "heat1_T2": _first(block_arrays(found)["heat1_T2"][0]),
        "reg_unit2": _first(block_arrays(found)["reg_unit2"][0]),
    }
    for scale in scales:
        name = "" if len(scales) == 1 else f"_{scale:g}".replace(".", "")
        arrays[f"input{name}"] = np.moveaxis(inputs[scale], -1, 1)
        heatmaps, poses = maps[scale]
        arrays[f"heatmaps{name}"] = _first(heatmaps[0])
        arrays[f"posemap{name}"] = _first(poses[0].reshape(*poses.shape[1:3], -1))
    return arrays


def _centers(config, found, maps, scales):
    """Centres with the values of their own maps."""
    valid = found["center_valid"][0]
    index, values = [], []
    for scale, cells in zip(
        scales, np.split(found["centers"][0].astype(int), len(scales)), strict=True
    ):
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
    inverse = np.linalg.inv(np.vstack([AFFINE, [0, 0, 1]]))
    for name, label in (("ranking", "final"), ("regression", "regression")):
        poses = found["outputs"][name]
        points = poses.keypoints[0][rows] @ inverse[:2, :2].T + inverse[:2, 2]
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
    config, variables = make_model(tmp_path, fine_hidden)
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
