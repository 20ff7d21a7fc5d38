import json

import numpy as np
import pytest

from data_pipeline.read import coco
from data_pipeline.read.layouts import annotation_file
from data_pipeline.read.records import Fault, raise_faults
from logocap_jax.skeletons import COCO

KEYPOINTS = list(COCO.keypoints)
NAN, INFINITY = float("nan"), float("inf")


def change(kind, **fields):
    """An edit of the second record of `kind`."""
    return lambda content: content[kind][1].update(fields)


def without(kind, field):
    return lambda content: content[kind][1].pop(field)


def change_keypoint(index, value):
    def edit(content):
        content["annotations"][1]["keypoints"][index] = value

    return edit


BAD_RECORDS = {
    "missing image": (change("images", file_name="absent.jpg"), "image 2: got no file"),
    "leaves the folder": (
        change("images", file_name="../val2017/001.jpg"),
        "image 2: got file_name '../val2017/001.jpg'",
    ),
    "absolute": (change("images", file_name="/etc/passwd"), "image 2: got file_name"),
    "backslash": (change("images", file_name="a\\b.jpg"), "image 2: got file_name"),
    "line break": (change("images", file_name="a\nb.jpg"), "image 2: got file_name"),
    "no name": (change("images", file_name=""), "image 2: got file_name"),
    "a folder": (change("images", file_name="."), "image 2: got file_name"),
    "name is a number": (change("images", file_name=3), "image 2: got file_name 3"),
    "no width": (without("images", "width"), "image 2: got no `width`"),
    "width 0": (change("images", width=0), "image 2: got width 0"),
    "width negative": (change("images", width=-64), "image 2: got width -64"),
    "width a fraction": (change("images", width=64.5), "image 2: got width 64.5"),
    "width true": (change("images", width=True), "image 2: got width True"),
    "too wide": (change("images", width=10**9), "image 2: got width 1000000000"),
    "too large": (change("images", width=9000, height=9000), "image 2: got 9000x9000"),
    "image id text": (change("images", id="2"), r"images\[1\]: got id '2'"),
    "image id huge": (change("images", id=10**30), "image 10+: got id"),
    "image ids twice": (change("images", id=1), "image 1: got this id 2 times"),
    "image is a list": (
        lambda content: content["images"].append([]),
        r"images\[3\]: got \[\], expected an object",
    ),
    "annotation ids twice": (
        change("annotations", id=1),
        "annotation 1: got this id 2 times",
    ),
    "unlisted image": (
        change("annotations", image_id=99),
        "annotation 2: got image_id 99, expected a listed image",
    ),
    "other category": (
        change("annotations", category_id=5),
        "annotation 2: got category_id 5, expected 1",
    ),
    "crowd 2": (change("annotations", iscrowd=2), "annotation 2: got iscrowd 2"),
    "no crowd": (without("annotations", "iscrowd"), "annotation 2: got no `iscrowd`"),
    "no area": (without("annotations", "area"), "annotation 2: got no `area`"),
    "area NaN": (change("annotations", area=NAN), "annotation 2: got area nan"),
    "area infinite": (change("annotations", area=INFINITY), "annotation 2: got area"),
    "area negative": (change("annotations", area=-1.0), "annotation 2: got area -1"),
    "area huge": (change("annotations", area=1e300), "annotation 2: got area 1e"),
    "area a huge integer": (change("annotations", area=10**400), "n 2: got area 1000"),
    "area text": (change("annotations", area="1"), "annotation 2: got area '1'"),
    "area 0": (change("annotations", area=0), "annotation 2: got area 0 with labelled"),
    "box NaN": (change("annotations", bbox=[1, 2, NAN, 4]), "annotation 2: got bbox"),
    "box negative": (change("annotations", bbox=[1, 2, -3, 4]), "on 2: got bbox"),
    "box huge": (change("annotations", bbox=[1, 2, 1e9, 4]), "annotation 2: got bbox"),
    "box short": (change("annotations", bbox=[1, 2, 3]), "annotation 2: got bbox"),
    "no keypoints": (without("annotations", "keypoints"), "2: got no `keypoints`"),
    "keypoints text": (change("annotations", keypoints="1"), "2: got keypoints '1'"),
    "16 keypoints": (
        change("annotations", keypoints=[1] * 48),
        "annotation 2: got 48 keypoint numbers, expected 51",
    ),
    "keypoint NaN": (change_keypoint(3, NAN), "2: keypoint 1: got x=nan, expected a"),
    "keypoint infinite": (change_keypoint(4, -INFINITY), "2: keypoint 1: got y=-inf"),
    "keypoint huge": (change_keypoint(6, 1e6), "2: keypoint 2: got x=1000000.0"),
    "keypoint none": (change_keypoint(6, None), "2: keypoint 2: got x=None"),
    "visibility 3": (change_keypoint(5, 3), "2: keypoint 1: got v=3, expected visib"),
    "visibility 0.5": (change_keypoint(5, 0.5), "2: keypoint 1: got v=0.5"),
    "id 0": (change("annotations", id=0), r"annotation 0: got id 0, expected an int"),
    "num_keypoints": (
        change("annotations", keypoints=[0] * 51),
        "2: got num_keypoints 17, but none is",
    ),
    "image_id a list": (change("annotations", image_id=[1]), r"2: got image_id \[1\]"),
    "no image_id": (without("annotations", "image_id"), "2: got no `image_id`"),
    "no object": (lambda content: content["annotations"].append([]), r"got \[\], exp"),
    "image without id": (without("images", "id"), r"images\[1\]: got no `id`"),
    "file_name too long": (change("images", file_name="a" * 300), "2: got file_name"),
    "bad segmentation": (
        change("annotations", segmentation={"size": [48, 64], "counts": [7]}),
        "annotation 2: got a segmentation whose run lengths",
    ),
}


@pytest.mark.row("annotations")
@pytest.mark.parametrize(("edit", "message"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_bad_record_is_named_and_its_image_left_out(write_coco, edit, message):
    split = coco.read_coco_split(write_coco(edit), "train", COCO)
    with pytest.raises(ValueError, match=message) as caught:
        raise_faults(split.faults)
    assert "person_keypoints_train2017.json: " in str(caught.value)
    assert {record.image_id for record in split.records} <= {1, 2, 3}
    assert 1 <= len(split.records) <= 3
    assert 3 in {record.image_id for record in split.records}


def test_all_bad_records_are_reported_at_once(write_coco):
    def edit(content):
        content["images"][0]["width"] = -1
        content["annotations"][1]["area"] = NAN
        content["annotations"][2]["image_id"] = 99

    split = coco.read_coco_split(write_coco(edit), "train", COCO)
    with pytest.raises(ValueError, match="3 bad records") as caught:
        raise_faults(split.faults)
    for part in ("image 1: got width -1", "annotation 2: got area", "image_id 99"):
        assert part in str(caught.value)
    assert [record.image_id for record in split.records] == [3]
    assert split.left_out == 2


def test_a_long_report_is_cut_but_counted():
    with pytest.raises(ValueError, match="25 bad records") as caught:
        raise_faults([Fault("a.json", "image 1", f"fault {n}") for n in range(25)])
    assert "\n  a.json: image 1: fault 19\n" in str(caught.value)
    assert "fault 20" not in str(caught.value)
    assert "and 5 more" in str(caught.value)


def annotate_with(*keypoint_lists):
    def edit(content):
        content["categories"] = [
            {"id": index, "keypoints": names}
            for index, names in enumerate(keypoint_lists)
        ]

    return edit


@pytest.mark.row("annotations")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content.pop("images"), "got no list `images`"),
        (lambda content: content.pop("annotations"), "got no list `annotations`"),
        (lambda content: content.pop("categories"), "got no list `categories`"),
        (lambda content: content.update(images={}), "got no list `images`"),
        (lambda content: content["categories"][0].pop("keypoints"), "got 0 `categor"),
        (annotate_with(KEYPOINTS, KEYPOINTS), "got 2 `categories`"),
        (
            annotate_with(KEYPOINTS[:14]),
            "got 14 keypoints in `categories`, expected.*17",
        ),
        (
            annotate_with(["a", *KEYPOINTS[1:]]),
            "got keypoint 'a' in `categories`, expected 'nose'",
        ),
    ],
)
def test_a_file_that_lacks_a_part_is_refused(write_coco, edit, message):
    with pytest.raises(ValueError, match=message) as caught:
        coco.read_coco_split(write_coco(edit), "train", COCO)
    assert "person_keypoints_train2017.json: " in str(caught.value)


@pytest.mark.row("annotations")
@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000, b"<html>"]
)
def test_what_is_not_json_is_refused(write_coco, text):
    root = write_coco()
    path = root / "annotations/person_keypoints_train2017.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"person_keypoints_train2017\.json: got no"):
        coco.read_coco_split(root, "train", COCO)


@pytest.mark.row("paths")
def test_a_link_out_of_the_image_folder_is_refused(write_coco, tmp_path):
    root = write_coco()
    outside = tmp_path / "outside.jpg"
    (root / "train2017/002.jpg").rename(outside)
    (root / "train2017/002.jpg").symlink_to(outside)
    split = coco.read_coco_split(root, "train", COCO)
    assert [record.image_id for record in split.records] == [1, 3]
    assert "a link out of" in split.faults[0].reason


def test_the_image_folder_may_be_a_link_and_lie_in_images(write_coco, tmp_path):
    root = write_coco()
    (root / "images").mkdir()
    (root / "train2017").rename(tmp_path / "elsewhere")
    (root / "images/train2017").symlink_to(tmp_path / "elsewhere")
    assert len(coco.read_coco_split(root, "train", COCO).records) == 3


@pytest.mark.row("annotations")
def test_a_folder_without_images_is_refused(write_coco):
    root = write_coco()
    for path in (root / "train2017").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"got no images, expected them in .*train"):
        coco.read_coco_split(root, "train", COCO)


def test_annotations_become_arrays(write_coco):
    def edit(content):
        polygon = [[1, 1, 9, 1, 9, 9]]
        content["annotations"][0].update(segmentation=polygon)
        crowd = content["annotations"][1] | {"id": 9, "image_id": 1, "iscrowd": 1}
        content["annotations"].append(crowd | {"segmentation": polygon})
        content["annotations"][2].update(
            num_keypoints=0, keypoints=[0] * 51, segmentation=[]
        )

    root = write_coco(edit)
    first, second, third = coco.read_coco_split(root, "train", COCO).records
    content = json.loads(annotation_file(root, "train").read_text())
    expected = np.reshape(content["annotations"][0]["keypoints"], (17, 3))
    np.testing.assert_array_equal(first.keypoints[0], expected[:, :2])
    assert (first.visibility == 2).all()
    assert first.iscrowd.tolist() == [False, True]
    assert first.segmentation == ("", "[[1, 1, 9, 1, 9, 9]]")
    assert first.area.tolist() == [1200.5, 1200.5]
    assert first.bbox[0].tolist() == [1, 2, 30, 40]
    assert (second.width, second.height, second.file_name) == (64, 48, "002.jpg")
    assert second.has_people
    assert second.has_keypoints.tolist() == [True]
    assert third.has_people
    assert third.has_keypoints.tolist() == [False]
    assert third.segmentation == ("",)


def test_an_image_without_annotations_is_kept(write_coco):
    root = write_coco(lambda content: content["annotations"].clear())
    records = coco.read_coco_split(root, "train", COCO).records
    assert [len(record.area) for record in records] == [0, 0, 0]
    assert records[0].keypoints.shape == (0, 17, 2)


def test_real_annotations_are_sound(coco_mini_dir):
    for split, people in (("train", 86), ("val", 68)):
        read = coco.read_coco_split(coco_mini_dir, split, COCO)
        assert not read.faults
        labelled = [(r.visibility > 0).any(axis=1).sum() for r in read.records]
        assert sum(labelled) == people
