import shutil

import cv2
import numpy as np
import pytest

from logocap_jax.media.films import FilmWriter
from logocap_jax.media.pictures import Pictures, find_sources, path_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`a.png`, `inner/d.png`, `b.jpg`, `c.txt`, a film of two frames, an image `7`."""
    image = np.full((8, 10, 3), 100, np.uint8)
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "c.txt").write_text("no image")
    (tmp_path / "inner").mkdir()
    shutil.copy(tmp_path / "a.png", tmp_path / "inner" / "d.png")
    (tmp_path / "7").write_bytes((tmp_path / "a.png").read_bytes())
    writer = FilmWriter(tmp_path / "film.mp4", frames_per_second=5.0)
    for _ in range(2):
        writer.add(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["."], ["a.png", "b.jpg", "film.mp4"]),
        (["*.png", "a.png", "b.jpg"], ["a.png", "b.jpg"]),
        (["b.jpg", "a.png"], ["b.jpg", "a.png"]),
        (["7", "0"], ["7", "camera0"]),
        (["**/*.png"], ["a.png", "inner/d.png"]),
    ],
)
def test_inputs_stand_for_files_and_cameras(folder, inputs, expected):
    assert [str(path_of(source)) for source in find_sources(inputs)] == expected


def test_pictures_come_in_order_and_bad_files_are_named(folder):
    names = ["a.png", "c.txt", "film.mp4", "absent.mp4", "b.jpg"]
    pictures = Pictures([folder / name for name in names], check=lambda size: None)
    found = [(picture.path.name, picture.frame) for picture in pictures]
    assert found == [
        ("a.png", None),
        *(("film.mp4", 1), ("film.mp4", 2)),
        ("b.jpg", None),
    ]
    assert pictures.most is None
    assert len(pictures.faults) == 2
    assert "c.txt: got a file that starts" in pictures.faults[0]
    assert "absent.mp4: got nothing" in pictures.faults[1]


def test_what_the_model_cannot_take_is_named(folder):
    def check(size):
        if size == (64, 48):
            raise ValueError("got 64x48")

    pictures = Pictures([folder / "film.mp4", folder / "a.png"], check=check)
    assert [picture.path.name for picture in pictures] == ["a.png"]
    assert Pictures([folder / "a.png"] * 3, check=check).most == 3
    assert pictures.faults == [f"{folder / 'film.mp4'}: got 64x48"]


def test_a_camera_that_is_not_there_is_named():
    pictures = Pictures([97], check=lambda size: None)
    assert not list(pictures)
    assert pictures.faults == [
        "camera 97: got nothing that OpenCV can read, expected a camera"
    ]
