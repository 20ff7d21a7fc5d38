import json
import pathlib

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from data_pipeline.drawn import draw_scene, write_drawn_dataset

# 2026-11: pycocotools 2.0.11 lacks NumPy 2's `copy` argument of `__array__`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

ARGUMENTS = {"num_train": 3, "num_val": 2, "size": 96, "seed": 4}


def write(out: pathlib.Path, **changes: int) -> pathlib.Path:
    write_drawn_dataset(out, **(ARGUMENTS | changes), progress=False)
    return out


def contents(root: pathlib.Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def annotations(root: pathlib.Path, split: str) -> dict:
    path = root / "annotations" / f"person_keypoints_{split}2017.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> pathlib.Path:
    return write(tmp_path_factory.mktemp("drawn") / "set")


def test_layout_is_that_of_coco(drawn):
    assert sorted(contents(drawn)) == [
        "annotations/person_keypoints_train2017.json",
        "annotations/person_keypoints_val2017.json",
        "drawn.json",
        "train2017/000000000001.jpg",
        "train2017/000000000003.jpg",
        "train2017/000000000005.jpg",
        "val2017/000000000002.jpg",
        "val2017/000000000004.jpg",
    ]


def test_the_same_seed_writes_the_same_bytes(drawn, tmp_path):
    assert contents(write(tmp_path / "again")) == contents(drawn)


def test_another_seed_draws_other_images(drawn, tmp_path):
    other = contents(write(tmp_path / "other", seed=5))
    for name, data in contents(drawn).items():
        assert other[name] != data


def test_fewer_images_are_a_prefix_of_more(drawn, tmp_path):
    more = write(tmp_path / "more", num_train=5)
    assert contents(drawn).items() - contents(more).items() == {
        (name, data)
        for name, data in contents(drawn).items()
        if name == "drawn.json" or name.endswith("train2017.json")
    }
    few, many = annotations(drawn, "train"), annotations(more, "train")
    for key in ("images", "annotations"):
        assert many[key][: len(few[key])] == few[key]


def test_train_and_val_share_no_image(drawn):
    train, val = annotations(drawn, "train"), annotations(drawn, "val")
    for key in ("images", "annotations"):
        assert not {r["id"] for r in train[key]} & {r["id"] for r in val[key]}
    jpegs = [data for name, data in contents(drawn).items() if name.endswith(".jpg")]
    assert len(set(jpegs)) == len(jpegs)


def test_images_show_the_scenes_of_their_index(drawn):
    data = (drawn / "val2017" / "000000000004.jpg").read_bytes()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    scene = draw_scene(np.random.default_rng([4, 1, 1]), 96)
    difference = np.abs(image.astype(int) - scene.image)
    assert difference.mean() < 8


def test_pycocotools_loads_it(tmp_path, capsys):
    root = write(tmp_path / "set", num_train=40, num_val=0)
    coco = COCO(root / "annotations" / "person_keypoints_train2017.json")
    assert len(coco.getImgIds()) == 40
    assert len(coco.getAnnIds()) > 40
    for record in coco.dataset["annotations"]:
        labels = record["keypoints"][2::3]
        assert record["num_keypoints"] == sum(v > 0 for v in labels)
        assert coco.annToMask(record).sum() == pytest.approx(record["area"], rel=0.05)


def test_a_complete_data_set_is_left_as_it_is(drawn, capsys):
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    write(drawn)
    assert before == {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    assert "complete already" in capsys.readouterr().out


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "set").mkdir()
    assert contents(write(tmp_path / "set", num_train=0, num_val=0))


@pytest.mark.parametrize("name", ["notes.txt", "drawn.json"])
def test_folders_of_others_are_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="choose another name"):
        write(tmp_path)
    assert contents(tmp_path) == {name: b"mine"}


def test_files_are_refused_as_folders(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(ValueError, match="got a file, expected a folder"):
        write(tmp_path / "set")


def test_other_parameters_are_refused(drawn):
    with pytest.raises(ValueError, match='"num_train": 3'):
        write(drawn, num_train=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": -1}, "got num_train=-1, expected 0 or more"),
        ({"num_val": -2}, "got num_val=-2, expected 0 or more"),
        ({"seed": -1}, "got seed=-1, expected 0 or more"),
        ({"size": 95}, "got size=95, expected 96 pixels or more"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_written(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", **changes)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_an_interrupted_run(tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data_pipeline.drawn.dataset.cv2.imencode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
