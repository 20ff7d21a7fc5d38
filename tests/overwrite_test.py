"""No command writes over an input, or over a file that it has not written itself."""

import os
import pathlib
import shutil

import cv2
import numpy as np
import pytest

from logocap_jax import cli
from logocap_jax.atomic import check_target
from logocap_jax.cli.predict import _CSV, _DRAWN, _JSON
from logocap_jax.media.films import Film, FilmWriter
from logocap_jax.media.output import drawn_targets
from logocap_jax.visualization.overlay import write_image

PIXELS = np.full((32, 48, 3), 90, np.uint8)


def refused(path, message="is not what this command writes", **rule):
    with pytest.raises(ValueError, match=message):
        check_target(path, **{"ours": _JSON, **rule})


@pytest.mark.parametrize(
    ("content", "ours", "is_ours"),
    [
        (b"[]\n", _JSON, True),
        (b'[{"image_id": 3, "category_id": 1', _JSON, True),
        (b'[{"id": 3, "name": "mine"}]', _JSON, False),
        (b'{"images": [], "annotations": []}', _JSON, False),
        (b"[] and more of mine", _JSON, False),
        (b"", _CSV, True),
        (b"file,frame,track,score,nose_x", _CSV, True),
        (b"name,age\n", _CSV, False),
        (b"\x89PNG\r\n\x1a\n", _DRAWN, False),
    ],
)
def test_files_of_the_kind_may_be_replaced(tmp_path, content, ours, is_ours):
    path = tmp_path / "file"
    path.write_bytes(content)
    if is_ours:
        check_target(path, ours=ours)
    else:
        refused(path, ours=ours)
        check_target(path, ours=ours, overwrite=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("link", [os.symlink, os.link, shutil.copy])
def test_an_input_is_never_a_target_by_any_name(tmp_path, link):
    source, other = tmp_path / "a.json", tmp_path / "b.json"
    source.write_text("[]\n")
    link(source, other)
    refused(source, "got an input as a target", inputs=[source], overwrite=True)
    if link is shutil.copy:
        check_target(other, ours=_JSON, inputs=[source])
    else:
        refused(other, "got an input as a target", inputs=[source], overwrite=True)


def test_a_folder_that_is_not_there_is_told_first(tmp_path):
    refused(tmp_path / "none" / "a.json", "no such folder")
    check_target(tmp_path / "a.json", ours=_JSON, inputs=[tmp_path / "absent"])


def test_pictures_and_films_of_ours_are_known_and_whole(tmp_path):
    write_image(tmp_path / "a.png", PIXELS)
    with_film = FilmWriter(tmp_path / "a.mp4", frames_per_second=10.0)
    for _ in range(3):
        with_film.add(PIXELS)
    with_film.close()
    for name in ("a.png", "a.mp4"):
        check_target(tmp_path / name, ours=_DRAWN)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), PIXELS)
    assert len(list(Film(tmp_path / "a.mp4"))) == 3
    cv2.imwrite(str(tmp_path / "b.png"), PIXELS)
    refused(tmp_path / "b.png", ours=_DRAWN)


def test_targets_of_drawing_are_those_of_the_inputs_and_views(tmp_path):
    names = ("a.png", "a.mp4", "a.heatmaps.png", "b.png", "a.other.png", "a.jpg")
    for name in names:
        (tmp_path / name).touch()
    found = drawn_targets(tmp_path, [pathlib.Path("x/a.jpg")], ["refined", "heatmaps"])
    assert {path.name for path in found} == {"a.png", "a.mp4", "a.heatmaps.png"}
    assert not list(drawn_targets(tmp_path / "none", [pathlib.Path("a.jpg")], []))


def folder_of(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), PIXELS)
    (folder / "net.npz").write_bytes(b"weights")
    (folder / "notes.csv").write_text("mine\n")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "photos", "--weights", "photos/net.npz", "--out", "photos"],
        ["predict", "photos", "--weights", "photos/net.npz", "--json", "photos/a.png"],
        ["predict", "photos", "--weights", "photos/net.npz", "--csv", "photos/net.npz"],
        [
            "predict",
            "photos",
            "--weights",
            "photos/net.npz",
            "--csv",
            "photos/notes.csv",
        ],
        ["convert", "photos/net.npz", "photos/net.npz"],
        ["export", "--weights", "photos/net.npz", "photos/net.npz"],
        ["validate", "photos", "--json", "photos/a.png"],
        ["plan", "--config", "demo", "--topology", "cpu:8", "--json", "photos/a.png"],
        ["parity", "photos", "--json", "photos/a.png"],
        ["benchmark", "inference", "--config", "demo", "--json", "photos/a.png"],
        ["weights", "pack", "photos", "photos/net.npz"],
    ],
    ids=" ".join,
)
def test_a_command_refuses_in_one_line_and_touches_nothing(
    tmp_path, monkeypatch, capsys, arguments
):
    folder = folder_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
