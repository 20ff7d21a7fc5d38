import dataclasses
import json

import numpy as np
import pytest

from data_pipeline.feed.loss_masks import (
    ignored_region,
    loss_masks,
)
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import open_source

LEFT_HALF = json.dumps([[-1, -1, 39, -1, 39, 81, -1, 81]])
IDENTITY = np.eye(2, 3)


def record_of(visibility, iscrowd, segmentation):
    count = len(iscrowd)
    return ImageRecord(
        image_id=7,
        file_name="some.jpg",
        width=80,
        height=80,
        keypoints=np.zeros((count, 17, 2), np.float32),
        visibility=np.full((count, 17), np.array(visibility)[:, None], np.int8),
        bbox=np.zeros((count, 4), np.float32),
        area=np.ones(count, np.float32),
        iscrowd=np.array(iscrowd, bool),
        segmentation=segmentation,
        image=b"",
    )


@pytest.mark.parity
@pytest.mark.parametrize("step", ["a", "b"])
def test_mask_equals_the_reference(parity_dir, coco_mini_dir, step):
    source = open_source(coco_mini_dir, "train")
    records = {source[i].image_id: source[i] for i in range(len(source))}
    with np.load(parity_dir / f"tiny/train_step_{step}.npz") as fixture:
        for image, image_id in enumerate(fixture["image_ids"]):
            got = loss_masks(
                records[int(image_id)],
                fixture[f"transform_{image}"][:2].astype(np.float64),
                size=(192, 192),
            )[4]
            if fixture[f"hflip_{image}"]:
                got = got[:, ::-1]
            counts = fixture["heatmap_weight"][image, 0] > 0
            np.testing.assert_array_equal(got, counts)


@pytest.mark.parametrize(
    ("visibility", "iscrowd", "ignored"),
    [(0, False, True), (2, True, True), (0, True, True), (1, False, False)],
)
def test_crowds_and_people_without_keypoints_are_ignored(visibility, iscrowd, ignored):
    record = record_of([visibility], [iscrowd], (LEFT_HALF,))
    mask = loss_masks(record, IDENTITY, size=(80, 80))[4]
    assert mask[:, 11:].all()
    assert mask[:, :9].all() == (not ignored)
    assert mask[:, :9].any() == (not ignored)


def test_everything_outside_the_image_is_ignored():
    matrix = np.array([[1.0, 0, 40], [0, 1.0, 0]])
    mask = loss_masks(record_of([], [], ()), matrix, size=(80, 80))[4]
    assert not mask[:, :9].any()
    assert mask[:, 11:].all()


def test_people_without_segmentation_ignore_nothing():
    assert not ignored_region(record_of([0], [True], ("",))).any()


def test_a_bad_segmentation_is_named():
    record = record_of([0], [True], (json.dumps({"size": [80, 80], "counts": [1]}),))
    with pytest.raises(ValueError, match=r"image 7 .*person 0: got a segmentation"):
        ignored_region(record)


def test_crowds_in_real_images_are_ignored_where_people_are_not(coco_mini_dir):
    source = open_source(coco_mini_dir, "train")
    crowded = [r for r in (source[i] for i in range(len(source))) if r.iscrowd.any()]
    assert crowded
    for record in crowded:
        region = ignored_region(record)
        assert 0 < region.mean() < 1
        without = dataclasses.replace(record, segmentation=("",) * len(record.iscrowd))
        boxes = ignored_region(without)  # in their place
        assert (region & boxes).sum() > 0.98 * region.sum()


def test_a_mask_comes_for_each_stride():
    record = record_of([0], [True], (LEFT_HALF,))
    masks = loss_masks(record, IDENTITY, size=(80, 80), strides=(2, 4))
    assert [mask.shape for mask in masks.values()] == [(40, 40), (20, 20)]
    for stride, mask in masks.items():
        assert mask[:, 40 // stride + 1 :].all()
        assert not mask[:, : 40 // stride - 1].any()
    (alone,) = loss_masks(record, IDENTITY, size=(80, 80)).values()
    np.testing.assert_array_equal(masks[4], alone)
