"""`logocap predict` with the weights of a run, beside `eval.py`."""

import csv
import json
import os
import re
import shutil
import signal
import threading

import cv2
import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.media.films import Film, FilmWriter
from logocap_jax.weights.files import load_variables, save_torch
from tests.runs import evaluate_from_config

pytestmark = pytest.mark.usefixtures("one_device")


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def test_predictions_are_those_of_the_evaluation(
    finished_run, config, drawn_dir, tmp_path
):
    evaluate_from_config(
        config, workdir=finished_run.workdir, weights=None, out=tmp_path, split="val"
    )
    expected = json.loads((tmp_path / "results_logocap.json").read_text())
    found_file = tmp_path / "found.json"
    options = ["--short-side", 64, "--no-flip-test", "--score-threshold", -1]
    assert not predict(
        drawn_dir / "val2017",
        *("--weights", finished_run.workdir, "--json", found_file, *options),
    )
    found = json.loads(found_file.read_text())
    key = lambda result: (result["image_id"], -result["score"])  # noqa: E731
    found, expected = sorted(found, key=key), sorted(expected, key=key)
    assert [result["image_id"] for result in found] == [
        result["image_id"] for result in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=1e-3)
    assert all(
        result["file_name"] == f"{result['image_id']:012}.jpg" for result in found
    )


def test_a_converted_run_evaluates_as_the_run(finished_run, config, tmp_path):
    weights = tmp_path / "weights.pth"
    save_torch(weights, load_variables(finished_run.workdir))
    texts = []
    for name, sources in (
        ("run", {"workdir": finished_run.workdir, "weights": None}),
        ("weights", {"workdir": None, "weights": weights}),
        ("folder", {"workdir": None, "weights": finished_run.workdir}),
    ):
        evaluate_from_config(config, out=tmp_path / name, split="val", **sources)
        texts.append((tmp_path / name / "results_logocap.json").read_text())
    assert texts[0] == texts[1] == texts[2]


def test_nobody_found_says_the_best_score_and_the_threshold(
    finished_run, drawn_dir, tmp_path, capsys
):
    image = next((drawn_dir / "val2017").iterdir())
    options = ["--json", tmp_path / "found.json", "--short-side=64"]
    assert not predict(
        *(image, "--weights", finished_run.workdir, *options, "--score-threshold=2")
    )
    told = capsys.readouterr().out
    best = re.search(r"nobody found: the best pose scores ([\d.e-]+), the thresh", told)
    assert 0 < float(best[1]) < 1
    assert "the threshold is 2 (--score-threshold)" in told
    assert json.loads((tmp_path / "found.json").read_text()) == []


def test_a_bad_image_is_named_and_left_out(finished_run, drawn_dir, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    images = sorted((drawn_dir / "val2017").iterdir())[:2]
    for image in images:
        shutil.copy(image, folder)
    (folder / "cut.jpg").write_bytes(images[0].read_bytes()[:500])
    table, options = tmp_path / "found.csv", ["--short-side=64", "--draw=initial"]
    arguments = ["--weights", finished_run.workdir, "--out", out, "--csv", table]
    assert predict(folder, *arguments, *options, "--set", "window_radius=7") == 1
    captured = capsys.readouterr()
    assert f"left out: {folder / 'cut.jpg'}: got a truncated" in captured.err
    assert "2 images" in captured.out
    assert sorted(path.stem for path in out.iterdir()) == [i.stem for i in images]
    for path in out.iterdir():
        assert cv2.imread(str(path)) is not None
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        assert np.isfinite(float(row["left_knee_x"]))


def test_a_film_becomes_a_film_with_ids(finished_run, drawn_dir, tmp_path):
    image = cv2.imread(str(sorted((drawn_dir / "val2017").iterdir())[0]))
    film = FilmWriter(tmp_path / "film.mp4", frames_per_second=10.0)
    for shift in range(4):
        film.add(np.roll(image, shift, axis=1)[..., ::-1].copy())
    film.close()
    out, found = tmp_path / "out", tmp_path / "found.json"
    arguments = ["--weights", finished_run.workdir, "--out", out, "--json", found]
    options = ["--track", "--short-side=64", "--score-threshold=-1"]
    assert predict(tmp_path / "film.mp4", *arguments, *options) == 0
    assert Film(out / "film.mp4").num_frames == 4
    results = json.loads(found.read_text())
    assert {result["frame"] for result in results} == {1, 2, 3, 4}
    assert {result["file_name"] for result in results} == {"film.mp4"}
    for frame in range(1, 5):
        ids = [result["track_id"] for result in results if result["frame"] == frame]
        assert len(set(ids)) == len(ids)


def test_views_that_explain_are_pictures_of_their_own(
    finished_run, drawn_dir, tmp_path
):
    image, out = sorted((drawn_dir / "val2017").iterdir())[0], tmp_path / "out"
    results = []
    for views in ("refined,initial,heatmaps,kam", "heatmaps", "refined"):
        found = tmp_path / "found.json"
        arguments = ["--weights", finished_run.workdir, "--out", out, "--json", found]
        options = ["--short-side=64", "--score-threshold=-1", "--draw", views]
        assert predict(image, *arguments, *options) == 0
        results.append(json.loads(found.read_text()))
        names = sorted(path.name for path in out.iterdir())
        expected = {"heatmaps": [".heatmaps.png"], "refined": [".png"]}.get(
            views, [".heatmaps.png", ".kam.png", ".png"]
        )
        assert names == [f"{image.stem}{suffix}" for suffix in expected]
        for name in names:
            assert cv2.imread(str(out / name)) is not None
            (out / name).unlink()
    for other in results[1:]:  # what is drawn changes no result
        for one, two in zip(results[0], other, strict=True):
            assert one["score"] == pytest.approx(two["score"], rel=1e-3)


def test_an_unknown_view_is_refused_with_all_views_there_are(
    finished_run, drawn_dir, tmp_path, capsys
):
    image, out = sorted((drawn_dir / "val2017").iterdir())[0], tmp_path / "out"
    arguments = [image, "--weights", finished_run.workdir, "--out", out]
    assert predict(*arguments, "--short-side=64", "--draw=refined,kams") == 2
    assert capsys.readouterr().err == (
        "error: --draw: got ['kams'], expected some of refined, initial, centers, "
        "heatmaps, kam\n"
    )
    assert not out.exists()


def test_an_image_too_narrow_for_any_input_is_left_out(
    finished_run, drawn_dir, tmp_path, capsys
):
    narrow = tmp_path / "narrow.png"
    cv2.imwrite(str(narrow), np.zeros((1, 9000, 3), np.uint8))
    good = sorted((drawn_dir / "val2017").iterdir())[0]
    arguments = ["--weights", finished_run.workdir, "--json", tmp_path / "a.json"]
    assert predict(narrow, good, *arguments, "--short-side=64") == 1
    captured = capsys.readouterr()
    assert f"left out: {narrow}: got an image of 9000x1" in captured.err
    assert "1 images" in captured.out


def test_ctrl_c_leaves_complete_files(finished_run, drawn_dir, tmp_path, capsys):
    image = cv2.imread(str(sorted((drawn_dir / "val2017").iterdir())[0]))[..., ::-1]
    film = FilmWriter(tmp_path / "film.mp4", frames_per_second=10.0)
    for shift in range(200):
        film.add(np.roll(image, shift, axis=1))
    film.close()
    out, found, table = tmp_path / "out", tmp_path / "f.json", tmp_path / "f.csv"
    ended = threading.Event()

    def interrupt():
        while not ended.wait(0.01):
            if out.is_dir() and any(out.iterdir()):  # the first frame is drawn
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = predict(
        *(tmp_path / "film.mp4", "--weights", finished_run.workdir, "--out", out),
        *("--json", found, "--csv", table, "--short-side=64", "--score-threshold=-1"),
    )
    ended.set()
    thread.join()
    assert code == 130
    assert "stopped before the end" in capsys.readouterr().err
    written = Film(out / "film.mp4")
    assert 0 < written.num_frames < 200
    assert len(list(written)) == written.num_frames
    frames = {result["frame"] for result in json.loads(found.read_text())}
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {int(row["frame"]) for row in rows} == frames
    assert max(frames) <= written.num_frames
    left = {"film.mp4", "out", "f.json", "f.csv"}
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent/*.jpg", "--weights", "w", "--json", "a.json"], "no image, expected"),
        ([".", "--weights", "w", "--json", "a.json"], "no image, expected"),
        (["image.png", "--weights", "w"], "got nothing to write"),
        (["image.png", "--weights", "w", "--json", "b/a.json"], "no such folder"),
        (["image.png", "--weights", "w", "--json", "a.json"], "no such weights"),
        (["image.png", "--weights", "w", "--csv", "folder"], "got a folder, expected"),
        (["image.png", "--weights", "w", "--out", "image.png"], "takes no file: Not a"),
        (["image.png", "--weights", "w", "--json", "/proc/a"], "takes no file: "),
        (["image.png", "--weights", "w", "--csv", "/proc/a"], "takes no file: "),
        (["image.png", "--weights", "w", "--out", "/proc/a"], "takes no file: "),
        (
            ["image.png", "--weights", "w", "--json", "a.json", "--set", "a"],
            "--set a: expected KEY=VALUE",
        ),
        (["image.png", "--weights", "w", "--show"], "got no screen"),
    ],
)
def test_bad_arguments_end_in_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    (tmp_path / "folder").mkdir()
    if "image.png" in arguments:
        cv2.imwrite("image.png", np.zeros((9, 9, 3), np.uint8))
    assert predict(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
