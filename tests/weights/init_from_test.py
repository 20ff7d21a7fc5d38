import dataclasses

import jax
import numpy as np
import pytest

from logocap_jax import skeletons
from logocap_jax.experiment.run import resolve
from logocap_jax.methods import build_method
from logocap_jax.weights.files import save_safetensors, save_torch
from logocap_jax.weights.init_from import start_from
from logocap_jax.weights.trees import flatten, unflatten
from tests.runs import restore_last, train_from_config

BACKBONE = "params/dense/backbone/"


@pytest.fixture(scope="module")
def fresh(tiny_config):
    method = resolve(tiny_config).method
    return jax.device_get(jax.jit(method.init)(jax.random.key(0)))


@pytest.fixture(scope="module")
def other(fresh):
    """Weights of the same model that are nowhere the fresh ones."""
    return jax.tree.map(lambda leaf: leaf + np.float32(1), fresh)


def only(variables, start):
    flat = flatten(variables)
    return unflatten({name: flat[name] for name in flat if name.startswith(start)})


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("save", [save_torch, save_safetensors])
def test_a_whole_model_is_taken_whole(fresh, other, tmp_path, save):
    save(tmp_path / "weights", other)
    assert_equal(start_from(tmp_path / "weights", fresh), other)


def test_a_bare_backbone_leaves_the_heads_fresh(fresh, other, tmp_path):
    backbone = only(other, BACKBONE) | {
        "params": only(other, BACKBONE)["params"]
        | {"classifier": {"kernel": np.ones((1, 1), np.float32)}}
    }
    save_safetensors(tmp_path / "weights", backbone)
    found = flatten(start_from(tmp_path / "weights", fresh))
    for name, leaf in flatten(fresh).items():
        change = 1 if name.startswith(BACKBONE) else 0
        np.testing.assert_array_equal(found[name], leaf + np.float32(change))


def test_the_baseline_starts_from_logocap(config, other, tmp_path):
    save_torch(tmp_path / "weights", other)
    settings = {
        name: value
        for name, value in config.method.to_dict().items()
        if name in ("backbone", "heatmap_hidden", "offset_hidden")
    }
    with config.unlocked():
        config.method = {"name": "center_offset", **settings}
    config.init_from = str(tmp_path / "weights")
    state = resolve(config).fresh_state()
    found, expected = flatten(state.variables), flatten(other)
    assert found
    for name, leaf in found.items():
        if not name.startswith("params/dense/embedding_head"):
            np.testing.assert_array_equal(leaf, expected[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flat: {}, "no array fits"),
        (
            lambda flat: flat | {f"{BACKBONE}stem_conv1/kernel": np.ones((1, 1, 3, 8))},
            r"1 arrays of the wrong shape.*stem_conv1/kernel: got \(1, 1, 3, 8\)",
        ),
        (
            lambda flat: {
                name: flat[name] for name in flat if "stem_conv1" not in name
            },
            "no arrays for parts.*stem_conv1/kernel",
        ),
    ],
    ids=["nothing", "shape", "half"],
)
def test_what_does_not_fit_is_refused(fresh, other, tmp_path, change, message):
    path = tmp_path / "weights"
    flat = change(flatten(other)) or {"params/other": np.ones(1, np.float32)}
    save_safetensors(path, unflatten(flat))
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        start_from(path, fresh)


@pytest.mark.parametrize("save", [save_torch, save_safetensors])
def test_weights_for_other_keypoints_leave_fresh_what_depends_on_them(
    fresh, other, tiny_config, tmp_path, save
):
    """Such as COCO's, for animals."""
    save(tmp_path / "weights", other)
    settings = tiny_config.method.to_dict()
    skeleton = dataclasses.asdict(skeletons.CROWDPOSE)
    method = build_method(settings.pop("name"), settings | {"skeleton": skeleton})
    start = jax.device_get(jax.jit(method.init)(jax.random.key(1)))
    found, start, taken = (
        flatten(each)
        for each in (start_from(tmp_path / "weights", start), start, other)
    )
    of_heads = {"dense/heatmap_head", "dense/offset_head"}
    of_maps = {"maps/message0_conv", "maps/output"}
    for name, leaf in found.items():
        module = "/".join(name.split("/")[1:3])
        is_fresh = module in of_heads | of_maps
        expected = start[name] if is_fresh else taken[name]
        np.testing.assert_array_equal(leaf, expected, err_msg=name)


def test_a_file_that_is_not_there_is_named(fresh, tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.pth: no such weights"):
        start_from(tmp_path / "nothing.pth", fresh)


def test_a_run_starts_from_the_weights_and_later_goes_on_without_them(
    config, other, tmp_path, caplog
):
    weights, workdir = tmp_path / "weights", tmp_path / "run"
    save_safetensors(weights, other)
    config.init_from = str(weights)
    config.epochs = 0.5
    config.learning_rate = 1e-30  # too low to change a float32
    with caplog.at_level("INFO", "logocap_jax"):
        train_from_config(config, workdir)
    assert any("start from" in line for line in caplog.messages)
    weights.unlink()
    state = restore_last(config, workdir)
    assert_equal(state.params, other["params"])
    config.epochs = 1.0
    train_from_config(config, workdir)
