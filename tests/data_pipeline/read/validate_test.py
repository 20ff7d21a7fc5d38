import json
import pathlib

import pytest

from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.validate import validate
from logocap_jax import skeletons
from logocap_jax.cli import main


def spoil(content):
    content["annotations"][0]["keypoints"][2] = 7
    content["annotations"][2]["area"] = float("nan")


def test_a_sound_data_set_has_no_faults_in_either_layout(write_coco, tmp_path):
    root = write_coco()
    prepared = tmp_path / "prepared"
    prepare_coco(root, prepared, skeleton=skeletons.COCO, progress=False)
    for folder in (root, prepared):
        reports = validate(folder, progress=False)
        assert list(reports) == ["train", "val"]
        for report in reports.values():
            assert (report.images, report.good, report.people) == (3, 3, 3)
            assert not report.faults


def test_all_faults_are_found_at_once_with_file_record_and_reason(write_coco):
    root = write_coco(spoil)
    (root / "train2017" / "002.jpg").write_bytes(b"no image")
    report = validate(root, progress=False)["train"]
    assert (report.images, report.good, report.people) == (3, 0, 0)
    annotations = str(root / "annotations" / "person_keypoints_train2017.json")
    found = [(fault.file, fault.record) for fault in report.faults]
    assert found == [
        (annotations, "annotation 1"),
        (annotations, "annotation 3"),
        (str(root.resolve() / "train2017" / "002.jpg"), "image 2 ('002.jpg')"),
    ]
    reasons = ["expected visibility 0, 1 or 2", "got area nan", "expected JPEG or PNG"]
    for fault, reason in zip(report.faults, reasons, strict=True):
        assert reason in fault.reason


def test_a_prepared_file_that_is_damaged_is_a_fault_of_its_records(
    write_coco, tmp_path
):
    prepared = tmp_path / "prepared"
    prepare_coco(write_coco(), prepared, skeleton=skeletons.COCO, progress=False)
    (path,) = prepared.glob("*train*array_record*")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    reports = validate(prepared, progress=False)
    assert reports["train"].faults
    assert not reports["val"].faults


def test_a_folder_of_neither_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got neither a prepared data set nor"):
        validate(tmp_path, progress=False)


def test_the_command_reports_as_text_and_json(write_coco, tmp_path, capsys):
    root = write_coco(spoil)
    report = tmp_path / "report.json"
    assert main(["validate", str(root), "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert "train: 1 of 3 images are sound, with 1 people; 2 faults" in out
    assert out.count("annotation 1: keypoint 0: got v=7") == 2
    assert len(json.loads(report.read_text())["val"]["faults"]) == 2


def test_the_command_passes_the_photographs_of_coco(capsys):
    root = pathlib.Path(__file__).parents[3].parent / "shared" / "data" / "coco-mini"
    if not root.is_dir():
        pytest.skip("the shared photographs are not here")
    assert main(["validate", str(root)]) == 0
    assert "val: 40 of 40 images are sound" in capsys.readouterr().out
