import fcntl
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.layouts import annotation_file, is_prepared
from data_pipeline.read.sources import open_source
from logocap_jax.evaluation.coco import load_ground_truth
from logocap_jax.skeletons import COCO
from tests.data_pipeline.read.coco_test import BAD_RECORDS

EDITS = {name: edit for name, (edit, _) in BAD_RECORDS.items()}


def prepare(root, out, **changes):
    return prepare_coco(root, out, skeleton=COCO, progress=False, **changes)


def assert_nothing_left(out):
    assert not is_prepared(out)
    assert not out.exists()
    assert not list(out.parent.glob(".*incomplete"))


def assert_same_records(got, expected):
    assert len(got) == len(expected)
    assert got.sizes == expected.sizes
    for index in range(len(got)):
        one, other = got[index], expected[index]
        assert one.image == other.image.read_bytes()
        for name, value in vars(other).items():
            if name != "image":
                np.testing.assert_array_equal(getattr(one, name), value)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("with_people_only", [True, False])
def test_prepared_records_equal_those_of_coco(
    coco_mini_dir, tmp_path_factory, split, with_people_only
):
    out = tmp_path_factory.getbasetemp() / "prepared"
    prepare(coco_mini_dir, out)
    got, expected = (
        open_source(folder, split, with_people_only=with_people_only)
        for folder in (out, coco_mini_dir)
    )
    assert_same_records(got, expected)


def test_a_finished_folder_is_left_as_it_is(write_coco, tmp_path):
    root, out = write_coco(), tmp_path / "out"
    result = prepare(root, out)
    assert result.written == {"train": 3, "val": 3}
    assert result.left_out == {"train": 0, "val": 0}
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare(root, out).written == {}
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_any_bad_record_can_be_left_out(write_coco, tmp_path, edit):
    root, out = write_coco(edit), tmp_path / "out"
    result = prepare(root, out, skip_bad=True)
    assert result.faults
    for split in ("train", "val"):
        truth = load_ground_truth(annotation_file(out, split))
        source = open_source(out, split)
        written = [image["id"] for image in truth["images"]]
        assert written == [source[i].image_id for i in range(len(source))]
        assert 3 in written
        assert result.written[split] == len(written)


def test_two_processes_do_not_prepare_the_same_folder(write_coco, tmp_path):
    root, out = write_coco(), tmp_path / "out"
    staging = tmp_path / ".out.incomplete"
    staging.mkdir()
    other = os.open(staging, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process that prepares it"):
        prepare(root, out)
    assert staging.exists()
    os.close(other)
    prepare(root, out)
    assert_same_records(open_source(out, "val"), open_source(root, "val"))


def test_the_current_folder_can_be_prepared_into(write_coco, tmp_path, monkeypatch):
    root, out = write_coco(), tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    prepare(root, pathlib.Path())
    assert is_prepared(out)


@pytest.mark.row("annotations")
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b'{"a": ', None], ids=["empty", "cut", "no"])
def test_a_damaged_folder_is_named(write_coco, tmp_path, name, content):
    root, out = write_coco(), tmp_path / "out"
    prepare(root, out)
    if content is None:
        (out / name).unlink()
    else:
        (out / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{out}: got ") as caught:
        open_source(out, "train")
    assert "\n" not in str(caught.value)


def test_all_bad_records_of_all_kinds_are_reported_at_once(write_coco, tmp_path):
    def edit(content):
        content["annotations"][0]["area"] = float("nan")

    root, out = write_coco(edit), tmp_path / "out"
    jpeg = (root / "val2017/002.jpg").read_bytes()
    (root / "val2017/002.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (root / "train2017/003.jpg").unlink()
    with pytest.raises(ValueError, match="4 bad records") as caught:
        prepare(root, out)
    message = str(caught.value)
    for part in (
        "person_keypoints_train2017.json: annotation 1: got area nan",
        "person_keypoints_val2017.json: annotation 1: got area nan",
        "image 3: got no file '003.jpg'",
        "image 2 ('002.jpg'): got a truncated",
    ):
        assert part in message
    assert_nothing_left(out)


def test_skip_bad_leaves_bad_records_out_and_counts_them(write_coco, tmp_path):
    def edit(content):
        content["annotations"][0]["area"] = float("nan")

    root, out = write_coco(edit), tmp_path / "out"
    (root / "val2017/002.jpg").write_bytes(b"\xff\xd8")
    result = prepare(root, out, skip_bad=True)
    assert result.written == {"train": 2, "val": 1}
    assert result.left_out == {"train": 1, "val": 2}
    assert len(result.faults) == 3
    source = open_source(out, "val")
    assert [source[0].image_id] == [3]
    assert source.sizes == [(64, 48)]


def test_a_data_set_without_a_good_record_is_refused(write_coco, tmp_path):
    root = write_coco(lambda content: [i.update(width=1) for i in content["images"]])
    with pytest.raises(ValueError, match="3 bad records"):
        prepare(root, tmp_path / "out", skip_bad=True)
    assert_nothing_left(tmp_path / "out")


def test_a_split_that_lists_no_images_is_refused(write_coco, tmp_path):
    root = write_coco(lambda content: content.update(images=[], annotations=[]))
    with pytest.raises(ValueError, match="got a split that lists no images"):
        prepare(root, tmp_path / "out")
    assert_nothing_left(tmp_path / "out")


def test_one_split_is_enough(write_coco, tmp_path):
    root, out = write_coco(), tmp_path / "out"
    (root / "annotations/person_keypoints_train2017.json").unlink()
    assert prepare(root, out).written == {"val": 3}
    with pytest.raises(ValueError, match="got no split 'train', expected one of"):
        open_source(out, "train")


def test_what_is_in_the_way_is_not_touched(write_coco, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("data")
    with pytest.raises(ValueError, match="got something else there"):
        prepare(write_coco(), out)
    assert (out / "precious").read_text() == "data"


def test_an_empty_folder_and_remains_of_a_killed_run_are_no_obstacle(
    write_coco, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / ".out.incomplete").mkdir()
    (tmp_path / ".out.incomplete/dataset_info.json").write_text("{}")
    prepare(write_coco(), tmp_path / "out")
    assert is_prepared(tmp_path / "out")
    assert not (tmp_path / ".out.incomplete").exists()


def test_a_killed_run_leaves_nothing_that_looks_finished(write_coco, tmp_path):
    root, out = write_coco(num_images=40), tmp_path / "out"
    script = """
import os, pathlib, signal, sys
from data_pipeline.prepare import dataset as prepare
from logocap_jax.evaluation.coco import load_ground_truth
from logocap_jax.skeletons import COCO
from tests.data_pipeline.read.coco_test import BAD_RECORDS

EDITS = {name: edit for name, (edit, _) in BAD_RECORDS.items()}
written = 0
to_example = prepare.to_example
def die_at_image_50(record):
    global written
    written += 1
    if written == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return to_example(record)
prepare.to_example = die_at_image_50
prepare.prepare_coco(*map(pathlib.Path, sys.argv[1:]), skeleton=COCO, progress=False)
"""
    here = pathlib.Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, str(root), str(out)],
        env=os.environ | {"PYTHONPATH": str(here)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    prepare(root, out)
    assert len(open_source(out, "val")) == 40


def test_tensorflow_is_never_imported(write_coco, tmp_path):
    prepare(write_coco(), tmp_path / "out")
    open_source(tmp_path / "out", "train")[0]
    assert "tensorflow" not in sys.modules
