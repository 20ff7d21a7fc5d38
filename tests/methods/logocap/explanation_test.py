import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods import build_config
from logocap_jax.methods.logocap.config import build_model
from logocap_jax.methods.logocap.stages import explain
from logocap_jax.structures import View
from logocap_jax.weights.settings import load_settings

NAME = "000000165518"


@pytest.mark.parity
def test_maps_belong_to_the_poses_that_the_reference_finds(parity_dir):
    settings, variables = load_settings(parity_dir / "tiny" / "weights.npz", {})
    del settings["name"]
    model = build_model(build_config("logocap", settings))
    variables = jax.tree.map(jnp.asarray, variables)
    with np.load(parity_dir / "tiny" / f"infer_{NAME}.npz") as case:
        mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        pixels = case["input"][0].transpose(1, 2, 0) * std + mean
        image = np.rint(255 * pixels).astype(np.uint8)[None]
        kam_of_slots = np.clip(case["kam_raw"], 0, 1)  # [N, K, E, E]
        mesh = case["kem_grid"]  # [N, E, E, K, 2]
        heatmaps = case["heatmaps_raw"].shape
        affine, expected = case["affine"], case["final_keypoints"][..., :2]
        scores = case["final_scores"]
    found = jax.jit(functools.partial(explain, model))(variables, View(image))
    poses = found.outputs["logocap"]
    valid = np.asarray(poses.valid)[0]
    np.testing.assert_allclose(poses.scores[0][valid], scores, rtol=1e-4)
    keypoints = expected @ affine[:2, :2].T + affine[:2, 2]
    errors = np.abs(poses.keypoints[0][valid] - keypoints).max(axis=-1)
    assert np.mean(errors > 0.01) <= 0.005
    assert found.layers["heatmaps"].values.shape[1:3] == heatmaps[2:]

    moved = 0
    middle = mesh.shape[1] // 2
    slots = mesh[:, middle, middle]  # initial keypoints by slot, [N, K, 2]
    for row, place in enumerate(np.flatnonzero(valid)):
        initial = np.asarray(poses.initial_keypoints[0, place])
        slot = int(np.argmin(np.abs(slots - initial).sum(axis=(1, 2))))
        assert np.abs(slots[slot] - initial).max() < 0.05
        moved += slot != row
        kam = np.asarray(found.layers["kam"].values[0, place]).transpose(2, 0, 1)
        np.testing.assert_allclose(kam, kam_of_slots[slot], atol=1e-3)
    assert moved  # pose NMS has moved some, or this test would show nothing
