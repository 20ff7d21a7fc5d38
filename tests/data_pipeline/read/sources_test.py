import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipeline.prepare import dataset
from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.layouts import annotation_file
from data_pipeline.read.sources import open_source
from logocap_jax.skeletons import COCO
from tests.faults.injector import FlipBit, Truncate, damage, remove


def test_training_sees_only_images_with_people(coco_mini_dir):
    everything = open_source(coco_mini_dir, "train")
    people = open_source(coco_mini_dir, "train", with_people_only=True)
    assert (len(everything), len(people)) == (36, 29)
    assert all(people[index].has_people for index in range(29))
    assert sum(people[index].has_keypoints.any() for index in range(29)) == 28


def crowd_in_the_first_box_in_the_second(content):
    """And nobody in the third; nobody has keypoints."""
    for person in content["annotations"]:
        person.update(num_keypoints=0, keypoints=[0] * 51)
    content["annotations"][0]["iscrowd"] = 1
    del content["annotations"][2]


def test_training_sees_crowds_and_people_without_keypoints(write_coco, tmp_path):
    root, out = write_coco(crowd_in_the_first_box_in_the_second), tmp_path / "out"
    prepare_coco(root, out, skeleton=COCO, progress=False)
    for folder in (root, out):
        source = open_source(folder, "train", with_people_only=True)
        assert [source[i].image_id for i in range(len(source))] == [1, 2]


def test_a_data_set_prepared_by_an_earlier_version_is_for_evaluation_only(
    write_coco, tmp_path, monkeypatch
):
    version = tfds.core.Version("1.0.0")
    monkeypatch.setattr(dataset.PersonKeypoints, "VERSION", version)
    prepare_coco(write_coco(), tmp_path / "out", skeleton=COCO, progress=False)
    assert len(open_source(tmp_path / "out", "val")) == 3
    with pytest.raises(ValueError, match=r"1\.0\.0, .* prepare it again") as caught:
        open_source(tmp_path / "out", "train", with_people_only=True)
    assert "\n" not in str(caught.value)


@pytest.fixture
def reads(monkeypatch):
    """Paths of JSON files, each time one is read."""
    names = []
    read_bytes = pathlib.Path.read_bytes

    def spy(path):
        if path.suffix == ".json":
            names.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", spy)
    return names


@pytest.mark.parametrize("sigmas", ["sigmas = 0.05", 'sigmas_from = "second.json"'])
def test_annotations_are_read_once_for_all_that_they_say(write_coco, reads, sigmas):
    root = write_coco(num_images=12)
    (root / "skeleton.toml").write_text(f'name = "own"\n{sigmas}\n')
    content = json.loads(annotation_file(root, "train").read_text())
    for person in content["annotations"]:
        person["keypoints"] = [value + (value != 2) for value in person["keypoints"]]
    (root / "second.json").write_text(json.dumps(content))
    train = open_source(root, "train", with_people_only=True)
    val = open_source(root, "val", skeleton=train.skeleton)
    assert val.skeleton == train.skeleton
    with annotation_file(root, "train").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert train.fingerprint == digest[:16]
    assert len(val.truth["annotations"]) == 12
    assert val.truth is val.truth
    assert reads.count("person_keypoints_train2017.json") == 1
    assert reads.count("person_keypoints_val2017.json") == 1
    assert reads.count("second.json") == int("second" in sigmas)


def test_prepared_annotations_are_read_once(write_coco, tmp_path, reads):
    prepare_coco(write_coco(), tmp_path / "out", skeleton=COCO, progress=False)
    reads.clear()
    source = open_source(tmp_path / "out", "val")
    assert len(source.truth["annotations"]) == 3
    assert len(source.fingerprint) == 16
    assert reads.count("ground_truth_val.json") == 1
    other = open_source(tmp_path / "out", "val")
    assert other.fingerprint == source.fingerprint


def test_workers_get_no_annotations(write_coco):
    source = open_source(write_coco(), "val")
    assert source.truth
    (unpickle, (content,)) = source.__reduce__()
    assert vars(unpickle(content).annotations).keys() == {"path"}


def test_sizes_are_width_and_height_of_each_record(coco_mini_dir):
    source = open_source(coco_mini_dir, "val")
    expected = [(source[i].width, source[i].height) for i in range(len(source))]
    assert source.sizes == expected


def test_other_splits_are_refused(coco_mini_dir):
    with pytest.raises(ValueError, match=r"got split 'all', expected one of .*train"):
        open_source(coco_mini_dir, "all")


def test_a_folder_that_holds_neither_layout_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="got neither a prepared data set nor COC"):
            open_source(folder, "train")


def test_bad_records_are_refused_also_without_preparing(write_coco):
    root = write_coco(lambda content: content["annotations"][0].update(area=-1))
    with pytest.raises(ValueError, match="1 bad records"):
        open_source(root, "train")


def test_a_prepared_data_set_has_the_skeleton_that_it_was_prepared_with(
    write_coco, tmp_path
):
    strict = dataclasses.replace(COCO, name="strict", sigmas=(0.02,) * 17)
    prepare_coco(write_coco(), tmp_path / "out", skeleton=strict, progress=False)
    assert open_source(tmp_path / "out", "train").skeleton == strict


def test_another_kind_of_prepared_data_set_is_refused(write_coco, tmp_path):
    prepare_coco(write_coco(), tmp_path / "out", skeleton=COCO, progress=False)
    (tmp_path / "out/metadata.json").unlink()
    with pytest.raises(ValueError, match="got a data set of another kind"):
        open_source(tmp_path / "out", "train")


@pytest.mark.row("images")
@pytest.mark.parametrize("how", [FlipBit(), Truncate(0.9), remove])
def test_a_damaged_data_set_is_refused(write_coco, tmp_path, how):
    prepare_coco(write_coco(), tmp_path / "out", skeleton=COCO, progress=False)
    for path in (tmp_path / "out").glob("*-train.array_record*"):
        damage(path, how)
    with pytest.raises(ValueError, match="got a damaged or missing file"):
        open_source(tmp_path / "out", "train")[0]


def test_prepared_images_come_as_they_were_encoded(write_coco, tmp_path):
    root = write_coco()
    prepare_coco(root, tmp_path / "out", skeleton=COCO, progress=False)
    source = open_source(tmp_path / "out", "train")
    assert source[1].image == (root / "train2017/002.jpg").read_bytes()
    assert source[1].keypoints.dtype == np.float32


def test_records_are_pickled_once_for_all_workers(write_coco):
    source = open_source(write_coco(), "train")
    (unpickle, (content,)), (_, (again,)) = source.__reduce__(), source.__reduce__()
    assert content is again
    other = unpickle(content)
    assert other.sizes == source.sizes
    assert other.skeleton == source.skeleton
    for position in range(len(source)):
        for name, value in vars(source[position]).items():
            np.testing.assert_array_equal(getattr(other[position], name), value)
