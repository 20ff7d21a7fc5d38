"""One rule for all readers: which category has keypoints; others are left out."""

import json
import shutil

import pytest

from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.coco import read_coco_split
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.layouts import annotation_file
from data_pipeline.read.sources import open_source
from data_pipeline.read.validate import validate
from logocap_jax.evaluation.coco import evaluate_coco, keypoint_category
from logocap_jax.skeletons import COCO

SETTINGS = 'name = "own"\nsigmas = 0.05\n'
BALL = {"id": 9, "name": "ball"}
NONE = {
    "no list": BALL,
    "an empty list": BALL | {"keypoints": [], "skeleton": []},
    "null": BALL | {"keypoints": None, "skeleton": None},
}


def add_category(category, *, first):
    def edit(content):
        content["categories"].insert(0 if first else 1, category)
        box = {"image_id": 2, "category_id": 9, "bbox": [0, 0, 5, 5]}
        # Not even an id of its own: nobody reads it.
        content["annotations"] += [{"id": 1, **box}, {"id": 77, **box}]

    return edit


def exact_poses(content):
    return [
        {
            "image_id": person["image_id"],
            "category_id": 1,
            "keypoints": person["keypoints"],
            "score": 1.0,
        }
        for person in content["annotations"]
        if person["category_id"] == 1
    ]


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("category", NONE.values(), ids=NONE)
def test_other_categories_are_left_out_and_counted_by_all(
    write_coco, tmp_path, category, first
):
    root = write_coco(add_category(category, first=first))
    read = read_coco_split(root, "train", COCO)
    assert (len(read.records), read.num_other, read.faults) == (3, 2, ())
    assert [len(record.area) for record in read.records] == [1, 1, 1]
    assert validate(root, progress=False)["val"].other == 2

    (root / "skeleton.toml").write_text(SETTINGS)
    skeleton = find_skeleton(root)
    assert skeleton.keypoints == COCO.keypoints

    out = tmp_path / "out"
    result = prepare_coco(root, out, skeleton=skeleton, progress=False)
    assert result.other == {"train": 2, "val": 2}
    content = json.loads(annotation_file(root, "val").read_text())
    prepared = json.loads(annotation_file(out, "val").read_text())
    assert [person["id"] for person in prepared["annotations"]] == [1, 2, 3]

    for truth in (content, prepared, open_source(root, "val").truth):
        assert keypoint_category(truth) == 1
        assert evaluate_coco(truth, exact_poses(content))["AP"] == 1.0


@pytest.mark.parametrize("name", ["coco17_plus_ball", "ball_null"])
def test_exports_with_a_second_label_are_read(shared_dir, tmp_path, name):
    case = shared_dir / "cases" / "02-empty-category" / name
    shutil.copytree(case, tmp_path / "data")
    images = tmp_path / "data" / "train2017"
    for line in (images / "images.txt").read_text().splitlines():
        shutil.copy(shared_dir / line.partition("shared/")[2], images)
    source = open_source(tmp_path / "data", "train")
    assert len(source) == 3
    assert sum(len(source[i].area) for i in range(3)) == 7
    assert keypoint_category(source.truth) == 1
    assert evaluate_coco(source.truth, exact_poses(source.truth))["AP"] == 1.0
    (tmp_path / "data" / "skeleton.toml").write_text(SETTINGS)
    assert find_skeleton(tmp_path / "data").keypoints == COCO.keypoints


def several(content):
    (person,) = content["categories"]
    content["categories"].append(person | {"id": 2, "name": "dog"})


def nobody(content):
    content["categories"] = list(NONE.values())


@pytest.mark.row("annotations")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            several,
            r"got 2 .*`keypoints`, ids \[1, 2\], .* one; remove the others",
        ),
        (nobody, r"got 0 .*`keypoints`, ids \[\], expected one; list there its"),
    ],
)
def test_several_and_none_are_refused_by_all_in_one_line(write_coco, edit, message):
    root = write_coco(edit)
    path = annotation_file(root, "train")
    (root / "skeleton.toml").write_text(SETTINGS)
    for read in (
        lambda: read_coco_split(root, "train", COCO),
        lambda: find_skeleton(root),
        lambda: evaluate_coco(path, []),
        lambda: keypoint_category(json.loads(path.read_text())),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.row("annotations")
def test_a_category_that_is_not_listed_is_a_fault(write_coco):
    def edit(content):
        content["annotations"][1]["category_id"] = 5

    (fault,) = read_coco_split(write_coco(edit), "train", COCO).faults
    assert fault.reason == "got category_id 5, expected 1 or another listed category"
