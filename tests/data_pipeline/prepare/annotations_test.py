import json

import pytest

from data_pipeline.prepare.dataset import prepare_coco, write_annotations
from data_pipeline.read.layouts import COCO as COCO_LAYOUT
from data_pipeline.read.layouts import annotation_file, prepared_annotations
from data_pipeline.read.sources import open_source
from logocap_jax.skeletons import COCO


def read(path):
    return json.loads(path.read_text())


def test_copy_keeps_the_numbers_of_the_kept_images(write_coco, tmp_path):
    def edit(content):
        for number, person in enumerate(content["annotations"]):
            person["area"] = 1000.123456789012345 + number
            person["segmentation"] = [[0.0, 0.0, 5.0, 0.0, 5.0, 5.0]]
        crowd = content["annotations"][2] | {"id": 99, "iscrowd": 1}
        content["annotations"].append(crowd)

    source = annotation_file(write_coco(edit), "val")
    write_annotations(source, tmp_path / "out.json", {3, 1})
    got, original = read(tmp_path / "out.json"), read(source)
    assert [image["id"] for image in got["images"]] == [1, 3]
    assert [person["id"] for person in got["annotations"]] == [1, 3, 99]
    assert got["categories"] == original["categories"]
    by_id = {person["id"]: person for person in original["annotations"]}
    for person in got["annotations"]:
        expected = dict(by_id[person["id"]])
        assert expected.pop("segmentation")
        assert person == expected


def test_copy_of_no_images_holds_none(write_coco, tmp_path):
    source = annotation_file(write_coco(), "train")
    write_annotations(source, tmp_path / "out.json", [])
    assert read(tmp_path / "out.json")["images"] == []
    assert read(tmp_path / "out.json")["annotations"] == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_are_found_in_either_layout(write_coco, tmp_path, split):
    root, out = write_coco(), tmp_path / "out"
    assert annotation_file(root, split) == COCO_LAYOUT.annotation_file(root, split)
    prepare_coco(root, out, skeleton=COCO, progress=False)
    assert annotation_file(out, split) == prepared_annotations(out, split)
    assert annotation_file(out, split).is_file()


def test_prepared_annotations_are_of_exactly_the_images_written(write_coco, tmp_path):
    def edit(content):
        content["annotations"][0]["area"] = float("nan")

    root, out = write_coco(edit), tmp_path / "out"
    (root / "val2017/002.jpg").write_bytes(b"\xff\xd8")
    prepare_coco(root, out, skeleton=COCO, skip_bad=True, progress=False)
    for split, kept in (("train", [2, 3]), ("val", [3])):
        truth = read(annotation_file(out, split))
        source = open_source(out, split)
        assert [image["id"] for image in truth["images"]] == kept
        assert [source[i].image_id for i in range(len(source))] == kept
        assert {person["image_id"] for person in truth["annotations"]} == set(kept)
