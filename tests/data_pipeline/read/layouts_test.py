import json
import shutil

import numpy as np
import pytest

from data_pipeline.read import coco
from data_pipeline.read.layouts import (
    CROWDPOSE,
    LAYOUTS,
    OCHUMAN,
    annotation_file,
    find_layout,
)
from data_pipeline.read.sources import open_source
from logocap_jax import skeletons


@pytest.fixture
def lay_out(shared_dir, tmp_path):
    """Lay a sample out as its data set is downloaded."""

    def lay_out(name, path):
        sample = shared_dir / "data" / "samples" / name
        shutil.copytree(sample, tmp_path / "images")
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        (tmp_path / "images" / f"test_{name}.json").rename(target)
        return tmp_path

    return lay_out


@pytest.mark.parametrize("folder", ["annotations/", ""])
@pytest.mark.parametrize("split", ["val", "test"])
def test_ochuman_is_read_with_cocos_skeleton(lay_out, folder, split):
    name = f"{folder}ochuman_coco_format_{split}_range_0.00_1.00.json"
    root = lay_out("ochuman", name)
    assert find_layout(root, split) is OCHUMAN
    source = open_source(root, split)
    content = json.loads((root / name).read_text())
    assert len(source) == 3
    assert sum(len(source[i].area) for i in range(3)) == len(content["annotations"])
    assert source[0].file_name == "003799.jpg"
    assert source[0].area[0] == 356725


@pytest.mark.parametrize("folder", ["annotations/", "json/", ""])
def test_crowdpose_is_read_with_areas_of_boxes(lay_out, folder):
    root = lay_out("crowdpose", f"{folder}crowdpose_test.json")
    assert find_layout(root, "test") is CROWDPOSE
    source = open_source(root, "test")
    assert source.skeleton == skeletons.CROWDPOSE
    assert len(source) == 2
    record = source[0]
    assert record.keypoints.shape == (len(record.area), 14, 2)
    sides = record.bbox[:, 2:]
    np.testing.assert_allclose(record.area, 0.53 * sides[:, 0] * sides[:, 1], rtol=1e-6)


def test_crowdpose_is_not_read_as_coco(lay_out):
    root = lay_out("crowdpose", "annotations/crowdpose_test.json")
    with pytest.raises(ValueError, match=r"got 14 keypoints .* the 17 of skeleton"):
        coco.read_coco_split(root, "test", skeletons.COCO)


def test_person_without_a_sound_box_has_no_area_either(lay_out):
    root = lay_out("crowdpose", "crowdpose_test.json")
    content = json.loads((root / "crowdpose_test.json").read_text())
    content["annotations"][0]["bbox"] = [0, 0, -5, 5]
    (root / "crowdpose_test.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="annotation 123803: got bbox"):
        open_source(root, "test")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_every_split_has_annotations_and_images(layout):
    assert layout.annotations.keys() == layout.image_folders.keys()
    assert layout.unlabelled <= layout.annotations.keys()


@pytest.fixture
def test_dev(coco_mini_dir, tmp_path):
    """COCO's test-dev, of the images of another split."""
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    images = json.loads(path.read_text())["images"][:3]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "test2017").mkdir()
    for image in images:
        name = image["file_name"]
        shutil.copy(coco_mini_dir / "val2017" / name, tmp_path / "test2017" / name)
    # Its categories have no keypoints.
    content = {"images": images, "categories": [{"id": 1, "name": "person"}]}
    path = tmp_path / "annotations" / "image_info_test-dev2017.json"
    path.write_text(json.dumps(content))
    return tmp_path


def test_test_dev_is_images_without_people(test_dev):
    source = open_source(test_dev, "test-dev")
    assert len(source) == 3
    for position in range(3):
        record = source[position]
        assert record.keypoints.shape == (0, 17, 2)
        assert not record.has_people
        assert record.image.is_file()


def test_missing_images_of_test_dev_are_all_named(test_dev):
    paths = sorted((test_dev / "test2017").iterdir())
    for path in paths[:2]:
        path.unlink()
    with pytest.raises(ValueError, match="2 bad records") as caught:
        open_source(test_dev, "test-dev")
    assert all(path.name in str(caught.value) for path in paths[:2])


def test_test_dev_that_lists_no_images_is_refused(test_dev):
    path = annotation_file(test_dev, "test-dev")
    path.write_text('{"categories": []}')
    with pytest.raises(ValueError, match="got no list `images`"):
        open_source(test_dev, "test-dev")
