"""Small exports, drawn here, as label tools lay them out."""

import json
import re

import cv2
import numpy as np
import pytest

from data_pipeline.read.sources import open_source
from logocap_jax import cli

NAMES = ["nose", "l_shoulder", "r_shoulder"]
POINTS = [50, 20, 2, 70, 40, 2, 30, 40, 1]


def draw(path, size=(100, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), len(path.name), np.uint8)
    cv2.imwrite(str(path), pixels)


def person(number, image, **fields):
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": list(POINTS),
        "bbox": [20, 10, 60, 50],
        **fields,
    }


def images(names, start=1):
    size = {"width": 100, "height": 80}
    return [{"id": i, "file_name": name, **size} for i, name in enumerate(names, start)]


def write(path, listed, people, *, names=NAMES, others=(), **category):
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"id": 1, "name": "person", "keypoints": names, **category}
    content = {"images": listed, "annotations": people, "categories": [*others, own]}
    path.write_text(json.dumps(content))


def cvat(root):
    """COCO Keypoints 1.0: subsets, a second label with an empty list."""
    ball = {"id": 7, "name": "ball", "keypoints": [], "skeleton": []}
    for subset in ("Train", "Validation"):
        listed = images([f"frame_{i}.png" for i in range(2)])
        people = [person(i, i, num_keypoints=3, area=9, iscrowd=0) for i in (1, 2)]
        people.append({"id": 3, "image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2]})
        path = root / f"annotations/person_keypoints_{subset}.json"
        write(path, listed, people, others=[ball], skeleton=[[1, 2], [1, 3]])
        for i in range(2):
            draw(root / f"images/{subset}/frame_{i}.png")


def roboflow(root):
    """A JSON in each split's folder, ids from 0, no `num_keypoints`, hyphens."""
    names = ["nose", "left-shoulder", "right-shoulder"]
    others = [{"id": 0, "name": "people-Qg7R", "supercategory": "none"}]
    for split in ("train", "valid", "test"):
        listed = images(["a_png.rf.01.png", "b_png.rf.02.png"], start=0)
        people = [person(i, i, area=3000.5, iscrowd=0) for i in range(2)]
        path = root / split / "_annotations.coco.json"
        write(path, listed, people, names=names, others=others)
        for image in listed:
            draw(root / split / image["file_name"])


def label_studio(root):
    """One result.json, folders in names, categories and ids from 0."""
    names = ["Nose", "Left Shoulder", "Right Shoulder"]
    listed = images([f"images/5/0a1b2c3d-photo_{i}.png" for i in range(4)], start=0)
    people = [person(i, i, category_id=0, segmentation=[]) for i in range(4)]
    write(root / "result.json", listed, people, names=names, id=0)
    for i in range(4):
        draw(root / f"images/0a1b2c3d-photo_{i}.png")


def supervisely(root):
    """A folder for each data set, the same image names in both."""
    for data_set in ("ds1", "ds2"):
        listed = images(["IMG_1.png", "IMG_2.png"])
        people = [person(i, i, area=100, iscrowd=0, num_keypoints=3) for i in (1, 2)]
        path = root / data_set / "annotations/person_keypoints.json"
        names = ["nose", "LeftShoulder", "RightShoulder"]
        write(path, listed, people, names=names)
        for image in listed:
            draw(root / data_set / "images" / image["file_name"])


def coco_annotator(root):
    """The data set's name as file name, flags as booleans, somebody with a box only."""
    listed = images(["one.png", "two.png"])
    listed[0]["path"] = "/datasets/mine/one.png"
    people = [person(i, i, area=50, iscrowd=False, isbbox=False) for i in (1, 2)]
    people.append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]})
    people[2] |= {"iscrowd": False, "area": 81, "segmentation": []}
    names = ["nose", "shoulder_left", "shoulder_right"]
    write(root / "mine-7.json", listed, people, names=names)
    for image in listed:
        draw(root / image["file_name"])


def yolo(root):
    """Text labels; names of keypoints are nowhere."""
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/val").mkdir()
    for split in ("train", "val"):
        draw(root / f"images/{split}/a.png")
        draw(root / f"images/{split}/empty.png")
        label = "0 0.5 0.4375 0.6 0.625 0.5 0.25 2 0.7 0.5 2 0.3 0.5 1\n"
        (root / f"labels/{split}/a.txt").write_text(label)
    text = "path: .\ntrain: images/train\nval: images/val\nkpt_shape: [3, 3]\n"
    (root / "data.yaml").write_text(text + "flip_idx: [0, 2, 1]\nnames: {0: person}\n")


def prepare(root, out, *options):
    return cli.main(
        ["prepare", "own", "--own-dir", str(root), "--out", str(out), *options]
    )


@pytest.mark.parametrize(
    ("export", "counts", "said"),
    [
        (cvat, (2, 2), "annotations of other categories left out: 1"),
        (roboflow, (2, 2), "`num_keypoints` counted: 2"),
        (label_studio, (3, 1), "images found by name, their folders being others: 4"),
        (supervisely, (3, 1), "ids of images counted anew: 4"),
        (coco_annotator, (1, 1), "boxes without keypoints: their people count as"),
        (yolo, (2, 2), "`area` as 0.53 of the box: 1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_exports_are_prepared_as_unpacked(export, counts, said, tmp_path, capsys):
    root, out = tmp_path / "export", tmp_path / "out"
    export(root)
    assert prepare(root, out) == 0
    told = capsys.readouterr().out
    assert said in told
    assert "sigmas: 0.05 for each keypoint" in told
    sources = [open_source(out, split) for split in ("train", "val")]
    assert tuple(map(len, sources)) == counts
    for source in sources:
        assert source.skeleton.flip_index.tolist() == [0, 2, 1]
        people = [source[i] for i in range(len(source)) if source[i].has_people]
        for record in people:
            expected = np.reshape(POINTS, (3, 3))
            np.testing.assert_allclose(record.keypoints[0], expected[:, :2], atol=1e-4)
            assert record.visibility[0].tolist() == [2, 2, 1]
            np.testing.assert_allclose(record.bbox[0], [20, 10, 60, 50], atol=1e-4)
            assert record.area[0] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "out"]


def test_images_go_to_one_split_each_the_same_ones_again(tmp_path):
    label_studio(tmp_path / "export")
    for out in ("a", "b"):
        assert prepare(tmp_path / "export", tmp_path / out, "--val-share", "0.5") == 0
    names = [
        [source[i].file_name for i in range(len(source))]
        for out in ("a", "b")
        for source in (open_source(tmp_path / out, s) for s in ("train", "val"))
    ]
    assert names[:2] == names[2:]
    assert len({*names[0], *names[1]}) == len(names[0]) + len(names[1]) == 4


def test_files_of_any_name_can_be_given(tmp_path):
    root = tmp_path / "export"
    for name in ("first", "second"):
        write(root / f"{name}.json", images([f"{name}.png"]), [person(1, 1)])
        draw(root / f"{name}.png")
    options = ["--train", "second.json", "--val", str(root / "first.json")]
    assert prepare(root, tmp_path / "out", *options, "--sigma", "0.07") == 0
    train = open_source(tmp_path / "out", "train")
    assert train[0].file_name == "second.png"
    assert train.skeleton.sigmas == (0.07,) * 3


def two_categories(root):
    dog = {"id": 2, "name": "dog", "keypoints": ["nose", "tail"]}
    write(root / "a.json", images(["a.png"]), [person(1, 1)], others=[dog])
    draw(root / "a.png")


def unknown_beside_known(root):
    cvat(root)
    write(root / "annotations/more.json", images(["frame_0.png"]), [person(1, 1)])


def two_files_of_one_name(root):
    write(root / "a.json", images(["x.png"]), [person(1, 1)])
    draw(root / "left/x.png")
    draw(root / "right/x.png")


def boxes_only(root):
    write(root / "a.json", images(["x.png"]), [person(1, 1)], names=[])


def no_size_of_label(root):
    yolo(root)
    (root / "labels/val/a.txt").write_text("0 0.5 0.5 0.1 0.1 0.5 0.5\n")


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (two_categories, "2 categories with keypoints, dog, person; .* --category"),
        (unknown_beside_known, "more.json, which does not tell its split"),
        (two_files_of_one_name, "'x.png': got 2 files of this name, left/x.png and"),
        (boxes_only, "expected an export as COCO keypoints"),
        (no_size_of_label, "a.txt, line 1: got 7 numbers, expected 14"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_known_is_asked_for_in_one_line(
    export, message, tmp_path, capsys
):
    export(tmp_path / "export")
    assert prepare(tmp_path / "export", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_a_category_can_be_chosen(tmp_path, capsys):
    two_categories(tmp_path / "export")
    assert prepare(tmp_path / "export", tmp_path / "out", "--category", "person") == 0
    assert prepare(tmp_path / "export", tmp_path / "no", "--category", "cat") == 2
    assert "expected one of dog, person" in capsys.readouterr().err


def test_faults_name_the_files_of_the_export(tmp_path, capsys):
    root = tmp_path / "export"
    write(root / "a.json", images(["a.png", "gone.png"]), [person(1, 1), person(2, 1)])
    draw(root / "a.png")
    assert prepare(root, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "a.json: image 2: got no file 'gone.png'" in told
    assert ".out." not in told
