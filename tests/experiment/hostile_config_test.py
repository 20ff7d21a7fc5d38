"""Settings that no run can mean: refused in one line, and never run as code."""

import pathlib

import pytest

from logocap_jax import cli
from logocap_jax.experiment.settings import load_config
from tests.runs import train_from_config

TINY_CONFIG = pathlib.Path(__file__).parents[1] / "tiny_config.py"
NAN, INFINITY = float("nan"), float("inf")

pytestmark = pytest.mark.row("configs")


VALUES = [
    ("epochs", NAN),
    ("epochs", INFINITY),
    ("epochs", -1.0),
    ("eval_every", INFINITY),
    ("learning_rate", NAN),
    ("learning_rate", -1.0),
    ("learning_rate", INFINITY),
    ("lr_decay", NAN),
    ("weight_decay", NAN),
    ("clip_norm", -1.0),
    ("ema_decay", NAN),
    ("seed", 10**23),
    ("batch_size", 0),
    ("accumulate", 0),
    ("data.max_people", 10**10),
    ("eval.short_side", -64),
    ("data.stall_s", NAN),
]


@pytest.mark.parametrize(("key", "value"), VALUES, ids=str)
def test_a_number_without_sense_is_refused_by_name_before_training(
    config, tmp_path, key, value
):
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=key.rpartition(".")[2]) as caught:
        train_from_config(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


CODE = "__import__('pathlib').Path('ran').touch()"


def parse(key, value):
    argv = [f"--config={TINY_CONFIG}", f"--config.{key}={value}", "--workdir=run"]
    args = cli.parse(["train", *argv])
    return load_config(args.config, args.set)


@pytest.mark.parametrize("key", ["data.dir", "init_from", "optimizer"])
def test_code_in_a_text_stays_text(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    found = parse(key, CODE)
    for name in key.split("."):
        found = found[name]
    assert found == CODE
    assert not (tmp_path / "ran").exists()


def test_code_is_the_name_of_no_method(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"got method .__import__"):
        parse("method.name", CODE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [CODE, "1e3", "True", "[8]", ""])
def test_what_is_no_integer_is_none(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="batch_size"):
        parse("batch_size", value)
    assert not (tmp_path / "ran").exists()
