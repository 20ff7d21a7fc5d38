"""A stage of training that learns from a model's own poses: the scorer of a toy."""

import json
import pathlib
import re
import signal

import numpy as np
import pytest

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax import Predictor, cli
from logocap_jax.experiment import pose_rows
from logocap_jax.experiment.settings import load_config
from logocap_jax.methods import METHODS
from logocap_jax.weights.files import load_variables, load_weights, save_safetensors
from logocap_jax.weights.trees import flatten

CONFIG = pathlib.Path(__file__).with_name("config.py")
SCORER = ("--config.stage=scorer", "--config.batch_size=8", "--config.epochs=6")


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "peaks", "tests.toys.methods.peaks")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scorer")


@pytest.fixture(scope="module")
def data(folder):
    out = folder / "data"
    write_drawn_dataset(out, num_train=8, num_val=2, size=96, seed=0, progress=False)
    return out


def call(command, data, *arguments):
    config = (f"--config={CONFIG}:peaks", f"--config.data.dir={data}")
    return cli.main([command, *config, *map(str, arguments)])


@pytest.fixture(scope="module")
def first(data, folder):
    """A run of the network alone."""
    out = folder / "first"
    assert call("train", data, "--workdir", out, "--config.epochs=1") == 0
    return out


@pytest.fixture(scope="module")
def run(data, first, folder):
    """A run of the scorer on the poses of the first."""
    out = folder / "run"
    init = f"--config.init_from={first}"
    assert call("train", data, "--workdir", out, *SCORER, init) == 0
    return out


def test_a_stage_brings_its_settings_and_the_command_line_changes_them():
    config = load_config(f"{CONFIG}:peaks", ["learning_rate=0.5", "stage=scorer"])
    assert config.stage == "scorer"
    assert config.method.scorer
    assert (config.batch_size, config.epochs) == (1024, 20.0)
    assert config.lr_milestones == ()
    assert config.learning_rate == 0.5  # named, so kept
    assert config.data.input_size == 64  # not the stage's matter
    plain = load_config(f"{CONFIG}:peaks", ["stage=main"])
    assert (plain.batch_size, plain.method.scorer) == (8, False)


def test_only_the_scorer_moves_and_it_learns(first, run):
    before, after = (load_variables(path)["params"] for path in (first, run))
    for path, leaf in flatten(before["dense"]).items():
        np.testing.assert_array_equal(flatten(after["dense"])[path], leaf)
    assert after["scorer"]["l1"]["kernel"].shape == (74, 256)
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss/scorer"] for line in lines if "loss/scorer" in line]
    assert len(losses) == 18  # 8 poses, 3 ranges of areas, batches of 8, 6 epochs
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert any("eval/peaks/AP" in line for line in lines)


def test_rows_are_poses_of_the_training_images(run):
    with np.load(run / pose_rows.FILE) as file:
        assert file["keypoints"].shape == (8, 17, 2)
        assert file["oks"].shape == (8, 3)
        assert np.all((file["oks"] >= 0) & (file["oks"] <= 1))


def test_it_resumes_with_the_poses_that_it_has(data, run, monkeypatch):
    monkeypatch.setattr(pose_rows, "_find", lambda *_: pytest.fail("found anew"))
    # The weights that it started from need not be there any more.
    more = (*SCORER, "--config.epochs=7", "--config.init_from=gone")
    assert call("train", data, "--workdir", run, *more) == 0
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss/scorer" in line] == [*range(1, 22)]


def test_poses_of_other_weights_or_settings_are_refused(
    data, first, run, folder, capsys
):
    code = call("train", data, "--workdir", run, *SCORER, "--config.eval.short_side=96")
    assert code == 3
    assert "poses.npz was made with eval.short_side=64" in _line(capsys)
    other = folder / "other.safetensors"
    variables = load_variables(first)
    variables["params"]["dense"]["conv0"]["bias"] += 1
    save_safetensors(other, variables)
    init = f"--config.init_from={other}"
    out = _with_poses(folder / "other", (run / pose_rows.FILE).read_bytes())
    assert call("train", data, "--workdir", out, *SCORER, init) == 3
    assert "poses.npz was made with weights=" in _line(capsys)


def _with_poses(folder, content):
    folder.mkdir()
    (folder / pose_rows.FILE).write_bytes(content)
    return folder


def _line(capsys):
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "learns from the poses of a trained model, without one"),
        (("--config.init_from={half}",), "lacking in parts that do not learn"),
        (("--config.init_from={first}", "--config.batch_size=32"), "got 24 rows"),
        (("--config.method.scorer=False",), "got stage 'scorer', expected one of"),
        (("--config.optimizer=adamw", "--config.accumulate=3"), "multiple of 24"),
    ],
)
def test_bad_settings_are_one_line(data, first, folder, capsys, arguments, expected):
    variables = load_variables(first)
    del variables["params"]["dense"]["output"]
    save_safetensors(folder / "half.safetensors", variables)
    paths = {"first": first, "half": folder / "half.safetensors"}
    arguments = [text.format(**paths) for text in arguments]
    assert call("train", data, "--workdir", folder / "bad", *SCORER, *arguments) == 2
    assert expected in _line(capsys)


def test_a_search_that_is_stopped_leaves_nothing_behind(
    data, first, folder, monkeypatch, capsys
):
    out, search = folder / "stopped", pose_rows.show_evaluation

    def stopped(*args, stop, **options):
        stop.signal = signal.SIGTERM
        return search(*args, stop=stop, **options)

    monkeypatch.setattr(pose_rows, "show_evaluation", stopped)
    init = f"--config.init_from={first}"
    assert call("train", data, "--workdir", out, *SCORER, init) == 128 + signal.SIGTERM
    assert "SIGTERM: nothing is saved yet" in capsys.readouterr().out
    assert not (out / pose_rows.FILE).exists()


def test_a_damaged_file_of_poses_is_named(data, run, folder, first, capsys):
    whole = (run / pose_rows.FILE).read_bytes()
    out = _with_poses(folder / "damaged", whole[: len(whole) // 2])
    init = f"--config.init_from={first}"
    assert call("train", data, "--workdir", out, *SCORER, init) == 2
    assert re.search(r"poses\.npz: got a damaged file .* remove it", _line(capsys))


def test_it_is_evaluated_with_and_without_the_scorer(data, first, run, folder, capsys):
    switched_on = "--config.method.scorer=True"
    weights = ("--weights", run, "--out", folder / "eval")
    assert call("eval", data, *weights, switched_on) == 0
    assert call("eval", data, *weights) == 0  # what the scorer is not asked for
    assert call("eval", data, "--workdir", run, switched_on) == 0
    assert call("eval", data, "--workdir", run, "--config.stage=scorer") == 0
    capsys.readouterr()
    assert call("eval", data, "--weights", first, "--out", folder, switched_on) == 2
    assert "got weights without scorer, expected them with it" in _line(capsys)
    assert call("eval", data, "--workdir", run) == 3
    assert "was made with method.scorer=True (config: False)" in _line(capsys)


def test_pose_scores_are_multiplied_and_nothing_else_changes(data, run):
    photograph = str(min((data / "val2017").iterdir()))
    options = {"short_side": 64, "score_threshold": -1e9}
    on, off = (
        Predictor.from_weights(run, settings={"scorer": scorer}, **options)(photograph)
        for scorer in (True, False)
    )
    np.testing.assert_array_equal(on.keypoints, off.keypoints)
    np.testing.assert_array_equal(on.keypoint_scores, off.keypoint_scores)
    assert np.all(on.scores != off.scores)


def test_two_files_become_one_and_tell_that_there_is_a_scorer(run, folder, data):
    target = folder / "both.pth"
    assert cli.main(["convert", str(run), str(target), "--to", "torch"]) == 0
    second = folder / "scorer_both.pth"
    assert second.is_file()
    whole = folder / "whole.safetensors"
    arguments = [str(target), str(whole), "--file", f"scorer={second}"]
    assert cli.main(["convert", *arguments]) == 0
    expected, found = (flatten(load_weights(path)) for path in (run, whole))
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf)


def test_a_scorer_of_another_skeleton_is_refused(run, folder, capsys):
    arrays = load_variables(run)
    arrays["params"]["scorer"]["l1"]["kernel"] = np.zeros((59, 256), np.float32)
    small = folder / "small.safetensors"
    save_safetensors(small, arrays)
    with pytest.raises(ValueError, match=r"of 59 .* another skeleton \(crowdpose\)"):
        Predictor.from_weights(small)
    cli.main(["convert", str(small), str(folder / "small.pth"), "--to", "torch"])
    second, target = folder / "scorer_small.pth", folder / "x.safetensors"
    arguments = [folder / "small.pth", target, "--file", f"scorer={second}"]
    assert cli.main(["convert", *map(str, arguments)]) == 2
    assert "of 59 numbers a pose, that of another skeleton" in _line(capsys)
    assert not target.exists()


def test_plans_and_benchmarks_refuse_the_stage(data, capsys):
    arguments = ["--config.stage=scorer", "--topology=cpu:1"]
    assert cli.main(["plan", f"--config={CONFIG}:peaks", *arguments]) == 2
    assert "learns from poses, expected one that learns from images" in _line(capsys)
