"""Forms of mmpose against the release's: the specification's table read backwards."""

import json
import re

import numpy as np
import pytest

from logocap_jax.methods import find_format
from logocap_jax.weights.containers import read_arrays
from logocap_jax.weights.files import load_weights, read_weights
from logocap_jax.weights.recognise import recognise_weights
from logocap_jax.weights.trees import flatten

HEADS = {
    "0x": ("keypoint_head", "offset_conv_layers"),
    "1x": ("head", "displacement_conv_layers"),
}
# Specification of mmpose's forms, 4: the stick of the release, ends exchanged or not.
STICKS = {
    17: "-17 -15 -18 -16 +14 +9 +11 +7 +8 +10 +12 +13 +2 +0 +1 +3 +4 +5 +6",
    14: "-11 -9 -12 -10 +13 +7 +8 +14 +3 +4 +5 +6 +0 -2 -1",
}


def to_mmpose(release, form, num_keypoints):
    """The release's checkpoint as mmpose would hold it: a plain loop over its keys."""
    state = _branches(release, form, num_keypoints)
    for key, array in release.items():
        if not key.startswith("offset_"):
            name, changed = _outside_branches(key, array, form, num_keypoints)
            state[name] = changed
    if form == "1x":
        state["data_preprocessor.mean"] = np.ones((3, 1, 1), np.float32)
    return state


def _outside_branches(key, array, form, num_keypoints):
    head, offsets = HEADS[form]
    if match := re.fullmatch(r"transition_(heatmap|offset)\.([01])\.(.+)", key):
        block = {"heatmap": "heatmap_conv_layers", "offset": offsets}[match[1]]
        return f"{head}.{block}.0.{('conv', 'bn')[int(match[2])]}.{match[3]}", array
    if match := re.fullmatch(r"head_heatmap\.0\.0\.(.+)", key):
        return f"{head}.heatmap_conv_layers.1.{match[1]}", array
    if match := re.fullmatch(r"head_heatmap\.1\.(.+)", key):
        if form == "0x":
            array = np.concatenate([array[-1:], array[:-1]])
        return f"{head}.heatmap_conv_layers.2.{match[1]}", array
    if key.startswith("scorer."):
        name = key.removeprefix("scorer.")
        if name == "l1.weight":
            array = _mmpose_columns(array, STICKS[num_keypoints].split())
        return f"{'head.' if form == '1x' else ''}rescore_net.{name}", array
    return f"backbone.{key}", array


def _branches(release, form, num_keypoints):
    head, offsets = HEADS[form]
    rows, sign = range(num_keypoints), {"0x": 1, "1x": -1}[form]
    state = {}
    for leaf in ("weight", "bias"):
        parts = [release[f"offset_final_layer.{j}.{leaf}"] for j in rows]
        state[f"{head}.{offsets}.3.{leaf}"] = sign * np.concatenate(parts)
    for unit in (0, 1):
        target = f"{head}.{offsets}.{unit + 1}"
        units = [f"offset_feature_layers.{j}.{unit}" for j in rows]
        taps = release[f"{units[0]}.regular_matrix"]
        state[f"{target}.regular_matrix"] = np.concatenate([taps, np.ones((1, 9))])
        joined = [release[f"{of}.adapt_conv.weight"] for of in units]
        state[f"{target}.adapt_conv.weight"] = np.concatenate(joined)
        steps = "bn.num_batches_tracked"
        state[f"{target}.norm.num_batches_tracked"] = release[f"{units[0]}.{steps}"]
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            joined = [release[f"{of}.bn.{leaf}"] for of in units]
            state[f"{target}.norm.{leaf}"] = np.concatenate(joined)
        for leaf in ("weight", "bias"):
            matrices = [_matrix(release, of, leaf) for of in units]
            key = f"{target}.transform_matrix_conv.{leaf}"
            state[key] = np.concatenate(matrices)
    return state


def _matrix(release, unit, leaf):
    transform = release[f"{unit}.transform_matrix_conv.{leaf}"].copy()
    shift = release[f"{unit}.translation_conv.{leaf}"]
    if leaf == "bias":
        transform[[0, 3]] -= np.float32(1)
    return np.stack([*transform[:2], shift[0], *transform[2:], shift[1]])


def _mmpose_columns(weight, sticks):
    count = len(sticks)
    columns = weight.copy()
    for i, text in enumerate(sticks):
        stick, sign = int(text[1:]), -1 if text[0] == "-" else 1
        for axis in (0, 1):
            columns[:, 2 * i + axis] = sign * weight[:, 2 * stick + axis]
        columns[:, 2 * count + i] = weight[:, 2 * count + stick]
    return columns


def assert_same(found, expected):
    """Equal bits, but for the biases that mmpose keeps less 1."""
    assert found.keys() == expected.keys()
    for path, array in found.items():
        near = 3e-7 if path.endswith("transform/bias") else 0
        np.testing.assert_allclose(array, expected[path], rtol=0, atol=near)


@pytest.fixture(scope="module")
def folder(shared_dir):
    return shared_dir / "siblings" / "mmpose"


@pytest.mark.parametrize("name", ["0x", "0x_zip", "1x"])
def test_the_published_containers_hold_the_same_net(folder, name):
    found, report = read_weights(folder / f"dekr_tiny_mmpose_{name}.pth")
    assert not report.unused
    scorer = {"scorer": folder / "rescore_official.pth"}
    official = read_weights(folder / "dekr_tiny_official.pth", files=scorer)[0]
    assert_same(flatten(found), flatten(official))


@pytest.mark.parametrize("form", HEADS)
def test_the_oracle_makes_the_published_file(folder, form):
    """The table of these tests is that of the files."""
    official = read_arrays(folder / "dekr_tiny_official.pth")
    scorer = read_arrays(folder / "rescore_official.pth")
    official |= {f"scorer.{key}": array for key, array in scorer.items()}
    published = read_arrays(folder / f"dekr_tiny_mmpose_{form}.pth")
    made = to_mmpose(official, form, 17)
    assert published.keys() - {"data_preprocessor.std"} == made.keys()
    for key in made.keys() - {"data_preprocessor.mean"}:
        np.testing.assert_array_equal(published[key], made[key], err_msg=key)


@pytest.fixture(
    scope="module", params=[("w32", 17), ("w48", 17), ("w32", 14), ("w48", 14)]
)
def release(request, shared_dir):
    """Number of keypoints; a full-size checkpoint whose backbone is zero."""
    name, count = request.param
    rng, state = np.random.default_rng(0), {}
    grid = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij")).reshape(2, 9)
    for prefix, file in (("", name), ("scorer.", "scorer")):
        path = shared_dir / "siblings" / "dekr" / "dekr" / f"state_dict_{file}.json"
        for key, shape, dtype in json.loads(path.read_text(encoding="utf-8")):
            number = re.match(r"offset_\w+\.(\d+)\.", key)
            if number and int(number[1]) >= count:
                continue
            if key.startswith("head_heatmap.1."):
                shape = [count + 1, *shape[1:]]
            if prefix and key == "l1.weight" and count == 14:
                shape = [shape[0], 59]
            if key.endswith("regular_matrix"):
                array = grid.astype(np.float32)
            elif key.startswith(("stage", "layer", "transition1", "transition2")):
                array = np.broadcast_to(np.zeros((), dtype), shape)
            else:
                array = rng.standard_normal(shape).astype(dtype)
            state[prefix + key] = array
    return count, state


@pytest.mark.parametrize("form", HEADS)
def test_every_key_of_the_full_size_nets_is_used(release, form):
    count, state = release
    table = find_format("dekr")
    found = table.from_torch(to_mmpose(state, form, count))
    assert not found.unknown
    expected = table.from_torch(state)
    assert_same(found.arrays, expected.arrays)
    name, settings = recognise_weights(found.arrays)
    assert name == "dekr"
    assert settings["num_keypoints"] == count
    assert settings["scorer"]


def test_the_two_forms_agree_bit_for_bit(folder):
    old, new = (
        find_format("dekr").from_torch(
            read_arrays(folder / f"dekr_tiny_mmpose_{form}.pth")
        )
        for form in HEADS
    )
    assert not [*old.unknown, *new.unknown]
    assert old.arrays.keys() == new.arrays.keys()
    for path, array in old.arrays.items():
        np.testing.assert_array_equal(array, new.arrays[path])


def test_the_copy_that_training_keeps_beside_the_average_is_left_out(folder):
    state = read_arrays(folder / "dekr_tiny_mmpose_0x.pth")
    state |= {f"ema_{key.replace('.', '_')}": array for key, array in state.items()}
    assert not find_format("dekr").from_torch(state).unknown


def test_a_second_scorer_is_refused(folder):
    state = read_arrays(folder / "dekr_tiny_mmpose_1x.pth")
    state["scorer.l3.bias"] = state["head.rescore_net.l3.bias"]
    with pytest.raises(ValueError, match=r"two arrays for 'scorer\.l3\.bias'"):
        find_format("dekr").from_torch(state)


@pytest.mark.parametrize(
    "key",
    [
        "keypoint_head.heatmap_conv_layers.2.bias",
        "keypoint_head.offset_conv_layers.1.transform_matrix_conv.bias",
        "keypoint_head.offset_conv_layers.3.weight",
        "rescore_net.l1.weight",
    ],
)
def test_a_number_in_place_of_an_array_is_reported(folder, tmp_path, key):
    state = read_arrays(folder / "dekr_tiny_mmpose_0x.pth")
    np.savez(tmp_path / "weights.npz", **state | {key: np.float32(1)})
    with pytest.raises(ValueError, match=r"weights\.npz: "):
        load_weights(tmp_path / "weights.npz")


def test_a_scorer_of_unknown_sticks_is_reported(folder, tmp_path):
    state = read_arrays(folder / "dekr_tiny_mmpose_1x.pth")
    state["head.rescore_net.l1.weight"] = np.zeros((256, 77), np.float32)
    np.savez(tmp_path / "weights.npz", **state)
    with pytest.raises(ValueError, match=r"unknown sticks scorer\.l1\.weight"):
        load_weights(tmp_path / "weights.npz")
