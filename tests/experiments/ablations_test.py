import argparse
import json
import pathlib

import jax
import pytest

from configs import ablations
from configs.ablations import VARIANTS
from data_pipeline.drawn import write_drawn_dataset
from experiments.ablations import commands, main
from logocap_jax.experiment.run import resolve
from logocap_jax.experiment.settings import load_config


@pytest.mark.parametrize("base", ablations.BASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_row_is_a_config_of_a_method(variant, base):
    config = ablations.get_config(f"{variant},{base}")
    assert config.is_locked
    assert config.method.is_locked
    method = resolve(config).method
    assert method.answer == VARIANTS[variant].answer


def test_rows_change_what_their_names_say():
    method = {name: ablations.get_config(name).method for name in VARIANTS}
    assert method["full"].to_dict() == load_config("logocap_w32_coco").method.to_dict()
    assert method["mesh19"].mesh_size == 19
    assert method["oks"].window_sigma is None
    assert method["oks"].kam_loss_weight == method["full"].kam_loss_weight > 0
    assert method["reweighing"].kam_loss_weight == 0
    assert method["reweighing"].window_sigma == method["full"].window_sigma
    assert method["oks_reweighing"].attentive_layer is None
    assert method["baseline"].backbone.channels == 32


@pytest.mark.parametrize("choice", ["mesh8", "full,w33", ",w32"])
def test_unknown_row_or_base_lists_the_known_ones(choice):
    with pytest.raises(
        ValueError, match=r"ablations.py:.*got .*, expected one of .*, "
    ):
        ablations.get_config(choice)


@pytest.mark.parametrize(
    ("variant", "layers"),
    [
        ("message1", {"message0", "output"}),
        ("full", {"message0", "message1", "message2", "output"}),
    ],
)
def test_message_passing_has_the_layers_of_its_row(variant, layers):
    method = resolve(ablations.get_config(f"{variant},drawn")).method
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    names = shapes["params"]["maps"].keys()
    assert {name.partition("_")[0] for name in names} == layers


def planned(name, out):
    args = argparse.Namespace(base="drawn", data=pathlib.Path("data"), out=out)
    return list(commands(name, 3, args, ["--config.epochs=1"]))


def test_rows_that_differ_at_test_time_only_share_a_run(tmp_path):
    runs = {name: planned(name, tmp_path)[0] for name in VARIANTS}
    assert runs["kem_only"] == runs["kam_only"] == runs["full"]
    assert len(set(runs.values())) == len(VARIANTS) - 2
    train, score = planned("kem_only", tmp_path)
    assert train.arguments[1] == "--config=configs/ablations.py:full,drawn"
    assert score.arguments[1] == "--config=configs/ablations.py:kem_only,drawn"
    for command in (train, score):
        assert {"--config.seed=3", "--config.epochs=1"} <= set(command.arguments)


@pytest.mark.slow
def test_rows_are_trained_scored_and_not_done_again(tmp_path, capfd):
    write_drawn_dataset(
        tmp_path / "data", num_train=12, num_val=8, size=96, seed=0, progress=False
    )
    command = [
        *("--data", str(tmp_path / "data"), "--base", "drawn", "--seeds", "0,1"),
        *("--variants", "baseline,full,kam_only", "--out", str(tmp_path / "out")),
        *("--", "--config.epochs=1", "--config.eval.batch_size=4"),
    ]
    assert main(command) == 0
    rows = json.loads((tmp_path / "out/rows.json").read_text())
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in ("baseline", "full", "kam_only")
    ]
    assert rows[1]["metrics"].keys() == {"initial", "logocap", "bound"}
    assert rows[1]["people_only"] is not None
    done = (tmp_path / "out/commands.jsonl").read_text()
    assert len(done.splitlines()) == 2 * (1 + 2 + 1)
    capfd.readouterr()
    assert main(command) == 0
    assert (tmp_path / "out/commands.jsonl").read_text() == done
    assert "| `kam_only` |" in capfd.readouterr().out


def test_a_command_that_fails_ends_it_with_its_code(tmp_path, capfd):
    code = main(["--data", str(tmp_path), "--seeds", "0", "--out", str(tmp_path / "o")])
    assert code == 2
    printed = capfd.readouterr()
    assert "exit code 2" in printed.out
    assert "got neither a prepared data set nor COCO's layout" in printed.err
    assert not (tmp_path / "o/table.md").exists()
