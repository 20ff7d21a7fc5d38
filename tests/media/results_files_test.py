import csv
import json
from pathlib import Path

import numpy as np
import pytest

from logocap_jax.media.output import CsvTable, FrameResult, JsonResults
from logocap_jax.media.pictures import Picture
from logocap_jax.predictor import Poses
from logocap_jax.skeletons import COCO


def people(count, seed=0):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 100, (count, 17, 2)).astype(np.float32)
    ones = np.ones((count, 17), np.float32)
    return Poses(keypoints, ones, ones[:, 0], keypoints, COCO)


def result(path, poses, frame=None, ids=None, position=1):
    picture = Picture(
        Path(path), np.zeros((9, 9, 3), np.uint8), frame, position=position
    )
    return FrameResult(picture, poses, ids=ids)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000000000012.jpg", "7.png"], [12, 7]),
        (["12.jpg", "012.png"], [1, 2]),  # one number twice
        (["12.jpg", "a.png"], [1, 2]),
        (["12.mp4"], [1]),
    ],
)
def test_image_ids_are_the_numbers_of_files_or_their_positions(
    tmp_path, names, expected
):
    paths = [Path(name) for name in names]
    file = JsonResults(tmp_path / "found.json", paths)
    for position, path in enumerate(paths, start=1):
        file.add(result(path, people(2), position=position))
    assert not (tmp_path / "found.json").exists()
    file.close()
    results = json.loads((tmp_path / "found.json").read_text())
    assert [r["image_id"] for r in results] == [i for i in expected for _ in range(2)]
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_files_about_nobody_are_whole(tmp_path):
    found = result("a.jpg", people(0))
    for empty in (True, False):
        files = (
            JsonResults(tmp_path / "f.json", [Path("a.jpg")]),
            CsvTable(tmp_path / "f.csv"),
        )
        for file in files:
            if not empty:
                file.add(found)
            file.close()
        assert json.loads((tmp_path / "f.json").read_text()) == []
        lines = (tmp_path / "f.csv").read_text().splitlines()
        assert len(lines) == (0 if empty else 1)


def test_frames_and_ids_of_a_film_are_written(tmp_path):
    file = JsonResults(tmp_path / "f.json", [Path("a.mp4")], category_id=7)
    table = CsvTable(tmp_path / "f.csv")
    for frame in (1, 2):
        found = result("a.mp4", people(2, frame), frame, np.array([3, 4]))
        file.add(found)
        table.add(found)
    file.close()
    table.close()
    results = json.loads((tmp_path / "f.json").read_text())
    with (tmp_path / "f.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    expected = [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert [(r["frame"], r["track_id"]) for r in results] == expected
    assert {r["category_id"] for r in results} == {7}
    assert [(int(r["frame"]), int(r["track"])) for r in rows] == expected
    for person, row in zip(results, rows, strict=True):
        assert float(row["nose_x"]) == pytest.approx(person["keypoints"][0])
