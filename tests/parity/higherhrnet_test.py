"""Parity of HigherHRNet on cases that this project's own functions make."""

import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.feed import affine
from logocap_jax.methods import build_config, build_method
from logocap_jax.methods.higher_targets import cells_at, heatmap_target
from logocap_jax.methods.higherhrnet import training
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.methods.initial_poses import normalise
from logocap_jax.methods.stages import run_stages
from logocap_jax.parity.runner import run_cases
from logocap_jax.parity.steps import Stepper
from logocap_jax.weights.files import save_torch, to_state_dict

MAPS = (
    *("input", "features", "coarse_raw", "tags_raw", "fine_features", "fine_raw"),
    *("heat_planes", "tag_planes"),
)
SETTINGS = {
    "backbone": {
        "channels": 4,
        "stem_channels": 4,
        "layer1_channels": 4,
        "layer1_blocks": 1,
        "modules": (1, 1, 1),
        "blocks": 1,
    },
    "head_channels": 4,
    "head_blocks": 1,
    "center": True,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Config, variables, and a folder that holds them under CenterGroup's names."""
    config = build_config("higherhrnet", SETTINGS)
    method = build_method("higherhrnet", SETTINGS)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(method.init, jax.random.key(0))

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        values = rng.standard_normal(leaf.shape)
        if leaf.ndim > 1:
            values *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            values = ("bias" not in name and "mean" not in name) + 0.1 * values
        return values.astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    folder = tmp_path_factory.mktemp("tiny")
    heads = ("final_layers", "deconv_layers")
    state = {
        f"bu_model.{'keypoint_head' if key.startswith(heads) else 'backbone'}.{key}": x
        for key, x in to_state_dict(variables).items()
    }
    other = {"group_model.initial_mlp.0.weight": np.zeros((2, 2), np.float32)}
    np.savez(folder / "weights.npz", **state, **other)
    return config, jax.tree.map(jnp.asarray, variables), folder


def _check(folder, name, arrays):
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    (results,) = run_cases(folder)
    path.unlink()
    return {result.stage: result.passed for result in results}


@pytest.fixture(scope="module")
def training_case(model):
    """Four images, two of them mirrored, as the README names their arrays."""
    config, variables, _ = model
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (4, 64, 64, 3), np.uint8)
    joints = np.zeros((4, 6, 18, 3))
    joints[:, :4, :17, :2] = rng.uniform(-6, 70, (4, 4, 17, 2))
    joints[:, :4, :17, 2] = rng.integers(0, 3, (4, 4, 17))
    arrays = {
        "input": np.moveaxis(np.asarray(normalise(jnp.asarray(image))), -1, 1),
        "hflip": np.array([False, True, True, False]),
        "joints_full": joints,
        "mask_4": rng.random((4, 16, 16)) < 0.9,
        "mask_2": rng.random((4, 32, 32)) < 0.9,
    }
    batch = _batch(arrays, config)
    loss = functools.partial(training.loss, config)
    terms = ("heatmap", "push", "pull")
    stepper = Stepper(loss, dict(zip(terms, terms, strict=True)), learning_rate=1.5e-3)
    state, losses = stepper.optimizer.init(variables["params"]), []
    for number in range(3):
        step = stepper.step(variables, state, batch)
        losses.append(step.losses)
        if number == 0:
            grads = to_state_dict(jax.device_get({"params": step.grads}))
        variables, state = step.variables, step.opt_state
    statistics = to_state_dict(
        {"batch_stats": jax.device_get(variables["batch_stats"])}
    )
    prefix = "bu_model.keypoint_head."
    head = [key for key in grads if key.startswith(("final_layers", "deconv_layers"))]
    cells, exists = jax.vmap(lambda one: cells_at(one, config, 4))(batch)
    places = 256 * np.arange(18) + 16 * cells[..., 1] + cells[..., 0]
    arrays |= {f"grad/{prefix}{key}": grads[key] for key in head}
    arrays |= {f"gradnorm/{prefix}{key}": np.linalg.norm(grads[key]) for key in head}
    arrays |= {
        f"bn1/{prefix}{key}": x
        for key, x in statistics.items()
        if key.startswith("deconv_layers") and "num_batches" not in key
    }
    make = functools.partial(heatmap_target, config=config)
    return arrays | {
        "losses": np.stack(losses),
        "tag_index_4": np.stack([places, exists], axis=-1) * exists[..., None],
        "target_2": np.moveaxis(
            jax.vmap(functools.partial(make, stride=2))(batch), -1, 1
        ),
    }


def _batch(arrays, config):
    from logocap_jax.parity.higherhrnet.training import read_batch
    from logocap_jax.parity.layout import channels_last

    return read_batch(arrays | {"input": channels_last(arrays["input"])}, config)


def test_a_training_case_passes_and_another_one_fails(model, training_case):
    *_, folder = model
    found = _check(folder, "train_associative_embedding", training_case)
    stages = {"target 2", "tag indices 4", "heatmap loss, step 1", "push loss, step 3"}
    stages |= {"pull loss, step 2", "gradients, median", "gradient norms"}
    assert stages <= set(found)
    assert all(found.values())
    changed = {name: np.array(array) for name, array in training_case.items()}
    changed["losses"][0, 2] *= 1.001
    changed["tag_index_4"][0, 0] += 1
    changed["target_2"][0, 0, 0, 0] += 0.1
    found = _check(folder, "train_associative_embedding", changed)
    failed = {stage for stage, passed in found.items() if not passed}
    assert failed == {"pull loss, step 1", "tag indices 4", "target 2"}


@pytest.fixture(scope="module")
def maps_case(model):
    """The maps of a photograph, under the README's names."""
    config, variables, _ = model
    image = np.random.default_rng(2).integers(0, 255, (61, 87, 3), np.uint8)
    sides = image.shape[1::-1]
    size = affine.eval_input_size(sides, short_side=64, rounding="half even")
    transform = affine.eval_affine(sides, size, "half even")
    pixels = affine.warp_image(image, transform, size=size)[None]
    given = {"image": jnp.asarray(pixels), "valid_size": None}
    run = functools.partial(run_stages, make_stages(config), wanted=MAPS)
    with jax.default_matmul_precision("highest"):
        found = jax.device_get(jax.jit(run)(variables, given))
    first = np.concatenate([found["coarse_raw"], found["tags_raw"]], axis=-1)
    last = {
        "input": found["input"],
        "features": found["features"],
        "out4": first,
        "deconv_features": found["fine_features"],
        "out2": found["fine_raw"],
    }
    heat, tags = found["heat_planes"][0], found["tag_planes"][0]
    return {
        **{name: np.moveaxis(array, -1, 1) for name, array in last.items()},
        "image": image,
        "heatmap_mean": heat.mean(axis=(1, 2)),
        "tag_mean": tags.mean(axis=(1, 2, 3)),
        "shown_types": np.array([0, 9]),
        "heatmaps": heat[[0, 9]],
        "tags": np.moveaxis(tags[[0, 9]], 1, -1),
    }


def test_a_case_of_maps_passes_and_another_one_fails(model, maps_case, tmp_path):
    _, variables, _ = model
    save_torch(tmp_path / "weights.pth", jax.device_get(variables))
    found = _check(tmp_path, "net_1", maps_case)
    assert set(found) == set(maps_case) - {"image", "shown_types"}
    assert all(found.values())
    changed = {name: np.array(array) for name, array in maps_case.items()}
    for name in ("tags", "deconv_features"):
        changed[name].flat[0] += 1
    found = _check(tmp_path, "net_1", changed)
    failed = {stage for stage, passed in found.items() if not passed}
    assert failed == {"tags", "deconv_features"}


@pytest.mark.parity
def test_the_references_people_and_assignments_are_ours(shared_dir, tmp_path):
    source = shared_dir / "siblings" / "centergroup" / "tiny"
    for name in ("weights", "ae_match_cases", "ae_350679_multi_scale"):
        shutil.copy(source / f"{name}.npz", tmp_path)
    multi, drawn = run_cases(tmp_path)
    assert len(drawn) == 40
    assert all(result.passed for result in (*multi, *drawn))
    stages = {result.stage for result in multi}
    assert {"12 assignments", "people", "candidates", "refined", "poses"} <= stages


def test_other_people_fail(shared_dir, tmp_path):
    source = shared_dir / "siblings" / "centergroup" / "tiny"
    arrays = dict(np.load(source / "ae_match_cases.npz"))
    arrays["people_0"][0, 0, 0] += 1
    np.savez(tmp_path / "drawn.npz", **arrays | {"n_cases": np.array(2)})
    (results,) = run_cases(tmp_path)
    assert [result.passed for result in results] == [False, True]
