import pathlib

import pytest
from logocap_jax.measure.configs import load_config

TINY = pathlib.Path(__file__).resolve().parents[1] / "tiny_config.py"


def test_values_at_any_depth_are_changed():
    changes = {
        "batch_size": 64,
        "method.dtype": "bfloat16",
        "method.backbone.blocks": 2,
    }
    config = load_config(TINY, changes)
    assert config.batch_size == 64
    assert config.method.dtype == "bfloat16"
    assert config.method.backbone.blocks == 2
    assert config.data.input_size == load_config(TINY, {}).data.input_size


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "batchsize",
            1,
            "--set batchsize: there is no 'batchsize', but .*'batch_size'",
        ),
        ("data.size", 1, r"there is no 'size', but \['augmentation', "),
        ("batch_size.x", 1, "there is no 'x', but nothing"),
        ("batch_size", "many", "--set batch_size='many': "),
    ],
)
def test_settings_of_nothing_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        load_config(TINY, {key: value})


def test_files_that_are_no_config_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.py, expected a file; see configs/"):
        load_config(tmp_path / "absent.py", {})
    text = tmp_path / "config.txt"
    text.write_text("batch_size: 4\nand more\n")
    with pytest.raises(ValueError, match=r"config\.txt: cannot be read as Python: "):
        load_config(text, {})
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ValueError, match=r"empty\.py: has no get_config\(\)"):
        load_config(empty, {})
