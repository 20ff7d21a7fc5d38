import ast
import pathlib

import pytest
from ml_collections import ConfigDict

from logocap_jax.experiment.settings import default_config, load_config, read_settings
from logocap_jax.methods import default_settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "tiny_config.py"


def test_values_at_any_depth_are_changed():
    changes = ["batch_size=64", "method.dtype=bfloat16", "method.backbone.blocks=2"]
    config = load_config(TINY, changes)
    assert config.batch_size == 64
    assert config.method.dtype == "bfloat16"
    assert config.method.backbone.blocks == 2
    assert config.data.input_size == load_config(TINY).data.input_size


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs=3", 3.0),
        ("epochs=1e-1", 0.1),
        ("seed=7", 7),
        ("data.dir=a b", "a b"),
        ("data.dir='quoted'", "quoted"),
        ("optimizer=None", "None"),
        ("lr_milestones=(1,2.5)", (1.0, 2.5)),
        ("lr_milestones=[3]", (3.0,)),
        ("lr_milestones=4", (4.0,)),
        ("lr_milestones=()", ()),
        ("method.flip_test=true", True),
        ("method.flip_test=False", False),
        ("method.flip_test=1", True),
        ("method.window_sigma=None", None),
        ("method.message_channels=8,4", (8, 4)),
    ],
)
def test_a_value_gets_the_type_of_the_one_that_it_replaces(override, expected):
    config = load_config("demo", [override])
    for name in override.partition("=")[0].split("."):
        config = config[name]
    assert config == expected
    assert type(config) is type(expected)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "batchsize=1",
            "got --config.batchsize, but config has no 'batchsize'; it has .*'batch_"
            "size'.*; did you mean 'batch_size'",
        ),
        ("data.size=1", r"config.data has no 'size'; it has \['augmentation', "),
        ("batch_size.x=1", "config.batch_size has no 'x'; it has nothing"),
        ("batch_size=many", r"got --config.batch_size=many, expected one like 8 \(int"),
        ("batch_size=None", r"got --config.batch_size=None, expected one like 8 \(int"),
        ("lr_milestones=(1,'a')", r"got --config.lr_milestones=\(1,'a'\), expected"),
        ("batch_size", "got --config.batch_size, expected --config.batch_size=VALUE"),
        ("method=openpose", r"got --config.method=, a section, .*'name'"),
        ("method.name=openpose", "got method 'openpose', expected one of"),
    ],
)
def test_settings_of_nothing_are_refused(override, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_config(TINY, [override])
    assert "\n" not in str(caught.value)


def test_files_that_are_no_config_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"absent\.py, expected a file, or one of .*de"
    ):
        load_config(tmp_path / "absent.py")
    text = tmp_path / "config.txt"
    text.write_text("batch_size: 4\nand more\n")
    with pytest.raises(ValueError, match=r"config\.txt: cannot be read as Python: "):
        load_config(text)
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ValueError, match=r"empty\.py: has no get_config\(\)"):
        load_config(empty)
    with pytest.raises(ValueError, match=r"got --config=demo:x, but .*too many"):
        load_config("demo:x")


def test_a_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
    by_path = load_config(ROOT / "configs" / "demo.py")
    monkeypatch.chdir(tmp_path)
    assert load_config("demo").to_dict() == by_path.to_dict()
    assert load_config("ablations:mesh7,demo").method.mesh_size == 7


def test_another_method_gets_its_defaults_and_what_the_config_has_changed():
    demo = load_config("demo")
    changes = ["method.heatmap_sigma=3", "method.name=center_offset"]
    config = load_config("demo", changes)
    assert config.is_locked
    assert config.method.is_locked
    known = default_settings("center_offset")
    assert set(config.method) == {"name", *known}
    assert config.method.name == "center_offset"
    assert config.method.backbone == demo.method.backbone  # changed by the demo
    assert config.method.offset_radius == demo.method.offset_radius == 3
    assert config.method.heatmap_sigma == 3.0
    assert config.method.smooth_l1_beta == known["smooth_l1_beta"]
    with pytest.raises(ValueError, match=r"config\.method has no 'mesh_size'"):
        load_config("demo", ["method.name=center_offset", "method.mesh_size=7"])


def test_settings_that_only_the_old_method_had_are_its_defaults_after_the_way_back():
    there_and_back = load_config("demo", ["method.name=center_offset"])
    expected = default_config("logocap").method
    config = load_config("logocap_w32_coco", ["method.name=logocap"])
    assert config.method == expected
    assert there_and_back.data == load_config("demo").data


def test_settings_that_are_unknown_are_listed():
    config = default_config("logocap").to_dict()
    config["eval"]["sort_side"] = 1
    with pytest.raises(ValueError, match=r"config.eval: got \['sort_side'\], expected"):
        read_settings(config)


def annotations(tree: ast.AST):
    """Text of the annotations of all arguments, results and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            for annotation in (*(a.annotation for a in listed), node.returns):
                if annotation is not None:
                    yield node.name, ast.unparse(annotation)
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target), ast.unparse(node.annotation)


# Below it all functions take a `Run` or plain values.
TAKE_CONFIGS = {
    "settings.py": "loads, makes and changes them",
    "run.py": {"resolve"},
}


def test_nothing_but_loader_and_resolve_takes_a_config():
    for path in sorted((ROOT / "logocap_jax" / "experiment").glob("*.py")):
        allowed = TAKE_CONFIGS.get(path.name, set())
        found = {
            name
            for name, text in annotations(ast.parse(path.read_text()))
            if ConfigDict.__name__ in text
        }
        if not isinstance(allowed, str):
            assert found <= allowed, path
