"""Cases of other weights, images and sizes: dumped from this project's own model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.evaluation.results import to_image
from logocap_jax.methods import build_method, initial_poses
from logocap_jax.parity.logocap.cases import make_config
from logocap_jax.parity.logocap.inference import InferenceStages, warp
from logocap_jax.weights.files import save_safetensors
from logocap_jax.weights.settings import read_settings
from logocap_jax.weights.trees import flatten, unflatten

TINY = {
    "backbone": {"channels": 8, "modules": (1, 2, 1), "blocks": 1},
    "heatmap_hidden": 12,
    "offset_hidden": 20,
    "embedding": 6,
    "message_channels": (20, 24, 16),
    "affines": 5,
}
W48 = {"backbone": {"channels": 48}, "heatmap_hidden": 48}


def random_variables(settings, name="logocap"):
    """Weights whose maps are neither flat nor out of bounds."""
    method = build_method(name, settings)
    shapes = flatten(jax.eval_shape(method.init, jax.random.key(0)))
    rng = np.random.default_rng(1)

    def draw(name, shape):
        values = rng.standard_normal(shape)
        if name.endswith("kernel"):
            values *= np.sqrt(2 / np.prod(shape[:-1]))
        elif name.endswith(("scale", "var")):
            values = 0.7 + 0.1 * np.abs(values)
        else:
            values *= 0.1
        return values.astype(np.float32)

    return unflatten({name: draw(name, leaf.shape) for name, leaf in shapes.items()})


def channels_first(array):
    return np.moveaxis(np.asarray(array), -1, 1)


def offsets_first(array):
    array = np.asarray(array)
    return channels_first(array.reshape(*array.shape[:-2], -1))


def dump(folder, variables, image, *, short_side):
    """Write what the reference would have written, from our own stages."""
    settings = read_settings(variables)
    del settings["name"]
    config = make_config(settings)
    stages = InferenceStages(config, variables)
    pixels, transform = warp(image, short_side=short_side)
    normalised = initial_poses.normalise(jnp.asarray(pixels)[None])
    dense = stages.from_images(jnp.concatenate([normalised, normalised[:, :, ::-1]]))
    full = dense["center_map"][..., None]
    centers, values = (x[: config.num_slots] for x in stages.centers(full[0, ..., 0]))
    count = int(np.sum(values >= config.center_threshold))
    assert count > 2, "a case without poses compares nothing"
    given = {
        "centers": centers,
        "center_values": values,
        "valid": np.arange(len(values)) < count,
    }
    names = ("mesh", "latent", "kam_raw", "windows", "adapted", "refined_poses")
    slots = stages.slots(dense, given, *names)
    poses = slots["refined_poses"]
    kept = stages.suppress(poses)
    back = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]

    def triplets(some, keypoints):
        scores = np.asarray(some.keypoint_scores)[..., None]
        rows = np.concatenate([keypoints, scores], axis=-1)
        return rows[np.asarray(some.valid)]

    shown = np.array([0, 2])
    folder.mkdir()
    save_safetensors(folder / "weights.safetensors", variables)
    np.savez(
        folder / "infer_drawn.npz",
        image=image,
        input=channels_first(normalised),
        affine=np.vstack([transform, [0, 0, 1]]),
        features=channels_first(dense["features"]),
        embedding=channels_first(dense["embedding_raw"]),
        heatmaps_raw=channels_first(dense["heatmaps_raw"]),
        offsets_raw=offsets_first(dense["offsets_raw"]),
        offsets=offsets_first(dense["offsets"]),
        center_heatmap_fullres=channels_first(full),
        centers=np.column_stack([centers, values])[:count],
        kem_grid=np.asarray(slots["mesh"])[:count],
        shown_instances=shown,
        latent=channels_first(slots["latent"])[shown],
        kam_raw=channels_first(slots["kam_raw"])[:count],
        global_in=np.asarray(slots["windows"])[shown],
        global_out=np.asarray(slots["adapted"])[shown],
        poses=triplets(poses, np.asarray(poses.keypoints)),
        scores=np.asarray(poses.scores)[np.asarray(poses.valid)],
        final_keypoints=triplets(
            kept, to_image(np.asarray(kept.keypoints), back.astype(np.float32))
        ),
        final_scores=np.asarray(kept.scores)[np.asarray(kept.valid)],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "size", "short_side"),
    [(TINY, (150, 100), 128), (W48, (80, 140), 64)],
    ids=["tiny", "w48"],
)
def test_a_case_of_other_weights_and_sizes_passes(
    tmp_path, capsys, settings, size, short_side
):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    with jax.default_matmul_precision("highest"):
        dump(tmp_path / "own", random_variables(settings), image, short_side=short_side)
    assert cli.main(["parity", str(tmp_path / "own")]) == 0
    assert "comparisons passed" in capsys.readouterr().out
