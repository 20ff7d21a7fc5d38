"""Parity of DEKR on cases with other options than those of the folder."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config, find_format
from logocap_jax.methods.dekr.stages import make_stages
from logocap_jax.methods.stages import run_stages
from logocap_jax.parity.runner import run_cases
from logocap_jax.weights.trees import flatten, unflatten

BACKBONE = {
    **{"channels": 4, "stem_channels": 4, "layer1_channels": 4, "layer1_blocks": 1},
    **{"modules": (1, 1, 1), "blocks": 1},
}
SIZE = (64, 128)
WANTED = ("heatmaps_raw", "heatmaps", "pose_map", "fused", "centers", "center_values")
WANTED += ("center_valid", "candidates", "heat", "kept", "valid", "poses", "outputs")
AFFINE = np.array([[0.5, 0, 3], [0, 0.5, -2]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Settings, variables, and a folder that holds the weights."""
    settings = {"backbone": BACKBONE, "heatmap_hidden": 4, "keypoint_channels": 2}
    config = build_config("dekr", settings)
    shapes = jax.eval_shape(
        lambda: config.network().init(
            jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False
        )
    )
    rng = np.random.default_rng(0)
    arrays = {}
    for path, leaf in flatten(shapes).items():
        collection, _, rest = path.partition("/")
        fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
        values = rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5
        if leaf.ndim == 1:
            values = ("bias" not in path and "mean" not in path) + 0.1 * values
        if "heatmap_head/output" in path:  # so that there are centres
            values = np.abs(values)
        arrays[f"{collection}/dense/{rest}"] = values.astype("f")
    folder = tmp_path_factory.mktemp("dekr")
    np.savez(folder / "weights.npz", **find_format("dekr").to_torch(arrays))
    return config, unflatten(arrays), folder


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
    run = jax.jit(lambda *args: run_stages(make_stages(config), *args, WANTED))
    found = run(variables, given)
    found = {
        k: v if k in ("poses", "outputs") else np.asarray(v) for k, v in found.items()
    }
    valid, slots = found["center_valid"][0], config.num_slots
    sizes = np.array([inputs[s].shape[1:3] for s in scales])
    widths = np.repeat(sizes[:, 1] // 4, slots)
    x, y = found["centers"][0].T.astype(int)
    kept = found["kept"][0][found["valid"][0]]
    poses, final = found["poses"], found["outputs"]["dekr"]
    mine = found["valid"][0]
    inverse = np.linalg.inv(np.vstack([AFFINE, [0, 0, 1]]))
    points = np.asarray(final.keypoints[0])[mine] @ inverse[:2, :2].T + inverse[:2, 2]
    arrays = {
        "affine": AFFINE,
        "base_size": np.array(SIZE[::-1]),
        "input_sizes": sizes,
        "heatmaps_raw": np.moveaxis(found["heatmaps_raw"], -1, 1),
        "shown_fused": np.array([0, 17]),
        "fused": _first(found["fused"][0])[[0, 17]],
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
            [points, final.keypoint_scores[0][mine][..., None]], axis=-1
        ),
        "final_scores": final.scores[0][mine],
    }
    for scale in scales:
        name = "" if len(scales) == 1 else f"_{scale:g}".replace(".", "")
        arrays[f"input{name}"] = np.moveaxis(inputs[scale], -1, 1)
    if len(scales) == 1:
        arrays["heatmaps"] = _first(found["heatmaps"][0])
        pose_map = found["pose_map"][0]
        arrays["posemap"] = _first(pose_map.reshape(*pose_map.shape[:2], -1))
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


def test_a_case_without_an_input_is_refused(model, case_arrays):
    *_, folder = model
    path = folder / "infer_1.npz"
    np.savez(path, **{k: v for k, v in case_arrays.items() if k != "input"})
    with pytest.raises(ValueError, match=r"infer_1.npz: got inputs at scales \[\]"):
        list(run_cases(folder))
    path.unlink()
