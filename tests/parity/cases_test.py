import dataclasses
import json
import shutil

import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.parity import cases
from logocap_jax.parity.logocap import cases as logocap
from logocap_jax.skeletons import CROWDPOSE
from logocap_jax.weights.files import save_safetensors
from logocap_jax.weights.settings import read_settings


def _save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def test_folder_and_its_subfolders_are_searched(tmp_path):
    for name in ("infer_1", "infer_1_no_flip", "infer_1_local_only", "train_step_a"):
        _save(tmp_path / "tiny" / f"{name}.npz")
    (tmp_path / "empty").mkdir()
    found = cases.find_cases(tmp_path)
    assert list(found) == [tmp_path / "tiny"]
    described = [logocap.describe(path) for path in found[tmp_path / "tiny"]]
    told = [(c.name, c.training, c.flip_test, c.result) for c in described]
    assert told == [
        ("tiny/infer_1", False, True, "logocap"),
        ("tiny/infer_1_local_only", False, True, "local"),
        ("tiny/infer_1_no_flip", False, False, "logocap"),
        ("tiny/train_step_a", True, True, "logocap"),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("", "no case in it"), ("x", "no such folder")]
)
def test_folder_without_cases_is_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        cases.find_cases(tmp_path / name)


def test_cases_without_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cases without weights\.\* or state_dict"):
        cases.read_weights(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "no array 'image'"),
        ({"image": np.zeros((9, 8, 3))}, "'image': got float64, expected uint8"),
        ({"shown_instances": np.array([0, 31])}, "'shown_instances': got int64 .0, 31"),
        ({"shown_instances": np.zeros(1)}, "'shown_instances': got float64"),
        ({"poses": np.zeros((2, 16, 3))}, r"'poses': got shape \(2, 16, 3\), expected"),
        ({"scores": np.zeros(3)}, r"'scores': got shape \(3,\), expected \(m\)"),
        ({"centers": np.zeros((31, 3))}, "'centers': got 31 rows, expected at most 30"),
        ({"scores": np.array(["a", "b"])}, "'scores': got <U1, expected numbers"),
        ({"latent": np.zeros((1, 136, 11, 11))}, "'latent' without 'shown_instances'"),
        ({"heatmaps_raw": np.zeros((1, 18, 8, 8))}, "'heatmaps_raw': got shape"),
        ({"scores": np.array([None, None])}, "Object arrays cannot be loaded"),
    ],
)
def test_malformed_case_is_refused_in_one_line(tmp_path, changes, message):
    arrays = {
        "image": np.zeros((9, 8, 3), np.uint8),
        "heatmaps_raw": np.zeros((2, 18, 8, 8)),
        "centers": np.zeros((2, 3)),
        "poses": np.zeros((2, 17, 3)),
        "scores": np.zeros(2),
        "final_keypoints": np.zeros((1, 17, 3)),
        "final_scores": np.zeros(1),
    } | changes
    path = tmp_path / "infer_1.npz"
    _save(path, **{name: array for name, array in arrays.items() if array is not None})
    (case,) = cases.find_cases(tmp_path)[tmp_path]
    with pytest.raises(ValueError, match=message) as error:
        logocap.read_case(logocap.describe(case), LogoCapConfig())
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "infer_1.npz").write_bytes(b"PK\x03\x04 nothing else")
    (case,) = cases.find_cases(tmp_path)[tmp_path]
    with pytest.raises(ValueError, match=r"infer_1\.npz: "):
        logocap.read_case(logocap.describe(case), LogoCapConfig())


def test_weights_by_rule_have_the_stated_spread(tmp_path):
    manifest = [
        ["a.weight", [64, 32, 3, 3], "float32"],
        ["b.weight", [4000], "float32"],
        ["b.bias", [4000], "float32"],
        ["b.running_mean", [2], "float32"],
        ["b.num_batches_tracked", [], "int64"],
    ]
    (tmp_path / "state_dict_manifest.json").write_text(json.dumps(manifest))
    _save(tmp_path / "bn_stats.npz", **{"b.running_mean": np.array([1.0, 2.0])})
    state = cases.weights_by_rule(tmp_path)
    assert "b.num_batches_tracked" not in state
    assert state["a.weight"].std() == pytest.approx(np.sqrt(2 / 288), rel=0.02)
    assert state["b.weight"].mean() == pytest.approx(1, abs=0.01)
    assert state["b.bias"].std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(state["b.running_mean"], [1, 2])


def _config(variables):
    settings = read_settings(variables)
    assert settings.pop("name") == "logocap"
    return logocap.make_config(settings)


@pytest.mark.parity
def test_architecture_is_read_off_the_weights(parity_dir, tmp_path):
    shutil.copy(parity_dir / "tiny" / "weights.npz", tmp_path)
    config = _config(cases.read_weights(tmp_path))
    assert config.backbone.channels == 8
    assert config.backbone.modules == (1, 2, 2)
    assert config.message_channels == (32, 24, 16)
    assert (config.heatmap_hidden, config.offset_hidden) == (8, 32)
    assert (config.embedding, config.affines) == (8, 10)


def test_weights_of_half_a_model_are_refused(parity_dir):
    variables = cases.read_weights(parity_dir / "tiny")
    del variables["params"]["maps"]
    del variables["batch_stats"]["maps"]
    with pytest.raises(ValueError, match=r"no whole model.*lacks params/maps/"):
        _config(variables)


@pytest.mark.parity
def test_cases_beside_weights_without_a_head_are_refused(parity_dir, tmp_path, capsys):
    variables = cases.read_weights(parity_dir / "tiny")
    del variables["params"]["maps"]
    del variables["batch_stats"]["maps"]
    del variables["params"]["dense"]["embedding_head"]
    del variables["batch_stats"]["dense"]["embedding_head"]
    save_safetensors(tmp_path / "weights.safetensors", variables)
    shutil.copy(parity_dir / "tiny" / "infer_000000165518.npz", tmp_path)
    assert cli.main(["parity", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "infer_000000165518.npz: 'image': got uint8 (" in line
    assert "an input of method 'center_offset'" in line


def test_another_skeleton_than_the_references_is_refused():
    settings = {"skeleton": dataclasses.asdict(CROWDPOSE)}
    with pytest.raises(ValueError, match="got weights for skeleton 'crowdpose'"):
        logocap.make_config(settings)
