import dataclasses

import jax
import numpy as np
import pytest

from logocap_jax import skeletons
from logocap_jax.methods import build_method
from logocap_jax.weights.files import save_safetensors, save_torch, start_from
from logocap_jax.weights.trees import flatten, unflatten

BACKBONE = "params/dense/backbone/"
NET = {"embedding": 2, "message_channels": (4, 4, 4), "affines": 2}


def drawn(name, settings, seed=0):
    """Variables of a method, all of them different numbers."""
    rng = np.random.default_rng(seed)
    method = build_method(name, settings)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def fresh(small_settings):
    return drawn("logocap", small_settings | NET)


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
    assert_equal(start_from(tmp_path / "weights", fresh, method="logocap"), other)


def test_a_bare_backbone_leaves_the_heads_fresh(fresh, other, tmp_path):
    backbone = only(other, BACKBONE) | {
        "params": only(other, BACKBONE)["params"]
        | {"classifier": {"kernel": np.ones((1, 1), np.float32)}}
    }
    save_safetensors(tmp_path / "weights", backbone)
    found = flatten(start_from(tmp_path / "weights", fresh, method="logocap"))
    for name, leaf in flatten(fresh).items():
        change = 1 if name.startswith(BACKBONE) else 0
        np.testing.assert_array_equal(found[name], leaf + np.float32(change))


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
            "arrays lacking in modules.*stem_conv1/kernel",
        ),
    ],
    ids=["nothing", "shape", "half"],
)
def test_what_does_not_fit_is_refused(fresh, other, tmp_path, change, message):
    path = tmp_path / "weights"
    flat = change(flatten(other)) or {"params/other": np.ones(1, np.float32)}
    save_safetensors(path, unflatten(flat))
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        start_from(path, fresh, method="logocap")


@pytest.mark.parametrize("save", [save_torch, save_safetensors])
def test_weights_for_other_keypoints_leave_fresh_what_depends_on_them(
    other, small_settings, tmp_path, save
):
    """Such as COCO's, for animals."""
    save(tmp_path / "weights", other)
    skeleton = {"skeleton": dataclasses.asdict(skeletons.CROWDPOSE)}
    start = drawn("logocap", small_settings | NET | skeleton, seed=1)
    found, start, taken = (
        flatten(each)
        for each in (
            start_from(tmp_path / "weights", start, method="logocap"),
            start,
            other,
        )
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
        start_from(tmp_path / "nothing.pth", fresh, method="logocap")


def test_logocap_starts_from_a_baseline_of_other_keypoints(
    fresh, small_settings, tmp_path
):
    skeleton = {"skeleton": dataclasses.asdict(skeletons.CROWDPOSE)}
    baseline = drawn("center_offset", small_settings | skeleton, seed=1)
    save_torch(tmp_path / "weights", baseline)
    found = flatten(start_from(tmp_path / "weights", fresh, method="logocap"))
    taken, start = flatten(baseline), flatten(fresh)
    for name, leaf in found.items():
        expected = taken[name] if "/backbone/" in name else start[name]
        np.testing.assert_array_equal(leaf, expected, err_msg=name)


def test_another_backbone_is_refused_whatever_its_keypoints(
    fresh, small_settings, tmp_path
):
    skeleton = {"skeleton": dataclasses.asdict(skeletons.CROWDPOSE)}
    wide = {"backbone": small_settings["backbone"] | {"channels": 8}}
    wide = drawn("logocap", small_settings | NET | skeleton | wide)
    save_safetensors(tmp_path / "weights", wide)
    with pytest.raises(ValueError, match=r"wrong shape.*dense/backbone/"):
        start_from(tmp_path / "weights", fresh, method="logocap")
