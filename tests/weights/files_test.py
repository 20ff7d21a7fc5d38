import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.weights import files
from logocap_jax.weights.trees import flatten, unflatten

CLASSIFIER = {
    "incre_modules.0.0.conv1.weight": np.zeros((4, 8, 1, 1), np.float32),
    "downsamp_modules.0.0.bias": np.zeros(4, np.float32),
    "final_layer.0.weight": np.zeros((4, 4, 1, 1), np.float32),
    "classifier.weight": np.zeros((10, 4), np.float32),
}


def _assert_same(tree, expected):
    flat, expected = flatten(tree), flatten(expected)
    assert flat.keys() == expected.keys()
    for name, leaf in expected.items():
        assert type(flat[name]) is np.ndarray
        np.testing.assert_array_equal(flat[name], leaf, strict=True)


@pytest.fixture
def imagenet_state(tiny_state):
    """The backbone as an ImageNet checkpoint holds it."""
    prefix = "backbone."
    backbone = {
        key.removeprefix(prefix): array
        for key, array in tiny_state.items()
        if key.startswith(prefix)
    }
    return backbone | CLASSIFIER


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_parallel_training_checkpoint_gives_the_plain_state_dict(
    torch_files, write, tiny_state, tiny_variables, kind
):
    state = {f"module.{key}": array for key, array in tiny_state.items()}
    path = write(getattr(torch_files, kind)({"epoch": 7, "state_dict": state}))
    _assert_same(files.load_weights(path, expected=tiny_variables), tiny_variables)


@pytest.mark.row("weights")
def test_two_arrays_for_one_key_are_refused(torch_files, write):
    array = np.ones(1, np.float32)
    path = write(torch_files.zip({"module.a": array, "a": array}))
    with pytest.raises(ValueError, match=r"weights\.pth: two arrays for 'a'"):
        files.load_weights(path)


def test_imagenet_file_fills_the_backbone_and_reports_the_rest(
    torch_files, write, tiny_variables, imagenet_state
):
    path = write(torch_files.legacy(imagenet_state), "imagenet.pth")
    variables, report = files.read_weights(path, partial=True)
    assert report.unused == list(CLASSIFIER)
    absent = {path.split("/")[2] for path in report.missing if "dense" in path}
    assert absent == {"heatmap_head", "offset_head", "embedding_head"}
    assert "params/maps/output" in report.missing
    assert len(report.missing) == 15
    backbone = {
        collection: {"dense": {"backbone": tree["dense"]["backbone"]}}
        for collection, tree in tiny_variables.items()
    }
    _assert_same(variables, backbone)
    with pytest.raises(ValueError, match=r"imagenet\.pth: 4 arrays unused"):
        files.load_weights(path, expected=backbone)


def test_imagenet_file_for_a_full_model_names_what_is_missing(
    torch_files, write, tiny_variables, imagenet_state
):
    full = tiny_variables
    path = write(torch_files.zip(imagenet_state))
    _, report = files.read_weights(path, expected=full, partial=True)
    heads = {name for name in flatten(full) if "/backbone/" not in name}
    assert set(report.missing) == heads


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (files.save_torch, "weights.pth"),
        (files.save_safetensors, "weights.safetensors"),
        (files.save_variables, "weights"),
    ],
)
def test_saved_variables_are_loaded_as_they_were(tmp_path, tiny_variables, save, name):
    variables = tiny_variables
    save(tmp_path / name, variables)
    _assert_same(files.load_weights(tmp_path / name), variables)
    _assert_same(files.load_weights(tmp_path / name, expected=variables), variables)
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_axes_in_any_memory_order_are_saved_by_value(tmp_path):
    kernel = np.arange(6.0).reshape(2, 3).T
    files.save_safetensors(tmp_path / "a", {"params": {"kernel": kernel}})
    loaded = files.load_weights(tmp_path / "a")
    np.testing.assert_array_equal(loaded["params"]["kernel"], kernel)


@pytest.mark.row("weights")
def test_own_weights_of_another_model_are_refused_by_path(tmp_path):
    path = tmp_path / "a.safetensors"
    files.save_safetensors(path, {"params": {"a": np.ones(2), "b": np.ones(2)}})
    expected = {"params": {"a": np.ones(3), "c": np.ones(2)}}
    with pytest.raises(ValueError, match=r"a\.safetensors: 1 arrays unused .*params/b"):
        files.load_weights(path, expected=expected)
    variables, report = files.read_weights(path, expected=expected, partial=True)
    assert variables == {}
    assert report.wrong_shape == ["params/a: got (2,), expected (3,)"]
    assert report.missing == ["params/c"]


def test_failed_save_leaves_no_file(tmp_path):
    variables = {"params": {"maps": {"output": {"bias": np.ones(2, np.complex64)}}}}
    with pytest.raises(ValueError, match=r"joints_mlp\.9\.bias: got dtype complex64"):
        files.save_torch(tmp_path / "a.pth", variables)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.row("weights")
def test_checkpoint_folder_is_not_overwritten_and_others_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Failed to load checkpoint"):
        files.load_weights(tmp_path)
    with pytest.raises(ValueError, match="exists, expected a folder to make"):
        files.save_variables(tmp_path, {"params": {}})


@pytest.mark.row("weights")
def test_other_networks_weights_are_refused(torch_files, write):
    path = write(torch_files.zip({"fc.weight": np.ones((2, 2), np.float32)}))
    with pytest.raises(
        ValueError,
        match=r"weights\.pth: .*'fc.weight', expected weights of one of logocap",
    ):
        files.load_weights(path)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("kernel", np.nan, "got NaN or infinity, expected finite numbers"),
        ("scale", -np.inf, "got NaN or infinity, expected finite numbers"),
        ("var", np.inf, "got NaN or infinity, expected finite numbers"),
        ("var", -1e-3, "got a negative variance, expected 0 or more"),
    ],
)
@pytest.mark.parametrize("save", [files.save_safetensors, files.save_torch])
def test_weights_that_are_no_numbers_are_refused_by_name(
    tiny_variables, tmp_path, capsys, kind, value, message, save
):
    arrays = flatten(tiny_variables)
    name = next(name for name in arrays if name.endswith(f"/{kind}"))
    arrays[name] = arrays[name].copy()
    arrays[name].flat[-1] = value
    path = tmp_path / ("w.pth" if save is files.save_torch else "w.safetensors")
    save(path, unflatten(arrays))
    for arguments in (
        ["convert", path, tmp_path / "out.safetensors"],
        ["export", "--weights", path, tmp_path / "out.stablehlo"],
    ):
        assert cli.main([*map(str, arguments)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"error: {path}: ")
        assert message in told
        assert told.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
