import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from data_pipeline.drawn.dataset import (
    annotation_record,
    person_category,
    polygons,
    run_lengths,
)
from data_pipeline.drawn.scene import Annotation, draw_scene

# 2026-11: pycocotools 2.0.11 lacks NumPy 2's `copy` argument of `__array__`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def rasterized(outlines: list, size: int) -> np.ndarray:
    return coco_mask.decode(
        coco_mask.merge(coco_mask.frPyObjects(outlines, size, size))
    ).astype(bool)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def test_polygon_of_a_rectangle_runs_along_its_edges():
    mask = np.zeros((20, 20), bool)
    mask[5:9, 3:12] = True
    np.testing.assert_array_equal(rasterized(polygons(mask), 20), mask)


def test_holes_stay_holes():
    mask = np.zeros((60, 60), bool)
    mask[5:50, 5:50] = True
    mask[10:20, 10:20] = False
    mask[30:31, 40:41] = False
    mask[25:45, 12:30] = False
    assert overlap(rasterized(polygons(mask), 60), mask) > 0.97


def test_separate_pieces_have_polygons_of_their_own():
    mask = np.zeros((30, 30), bool)
    mask[2:10, 2:10] = mask[15:28, 15:28] = True
    assert len(polygons(mask)) == 2


@pytest.mark.parametrize("first", [False, True])
def test_run_lengths_are_those_of_pycocotools(first):
    mask = np.random.default_rng(0).random((13, 7)) < 0.5
    mask[0, 0] = first
    encoded = coco_mask.frPyObjects(run_lengths(mask), 13, 7)
    np.testing.assert_array_equal(coco_mask.decode(encoded).astype(bool), mask)
    assert sum(run_lengths(mask)["counts"]) == mask.size


def test_run_lengths_start_with_the_run_of_zeros():
    assert run_lengths(np.array([[True, False], [True, True]]))["counts"] == [
        0,
        2,
        1,
        1,
    ]


def test_area_box_and_segmentation_agree_with_the_mask():
    overlaps = []
    for index in range(60):
        scene = draw_scene(np.random.default_rng([2, index]), 160)
        for annotation in scene.annotations:
            record = annotation_record(
                annotation, image_id=1, annotation_id=7, category_id=1
            )
            encoded = coco_mask.encode(np.asfortranarray(annotation.mask, np.uint8))
            assert record["area"] == coco_mask.area(encoded)
            assert record["bbox"] == coco_mask.toBbox(encoded).tolist()
            if not annotation.is_crowd:
                pieces = rasterized(record["segmentation"], 160)
                overlaps.append(overlap(pieces, annotation.mask))
    assert min(overlaps) > 0.95
    assert np.mean(overlaps) > 0.99


def test_record_counts_and_flattens_keypoints():
    keypoints = np.zeros((17, 3))
    keypoints[5], keypoints[6] = (10.25, 12.0, 2.0), (4.0, 3.5, 1.0)
    mask = np.zeros((20, 20), bool)
    mask[2:15, 2:15] = True
    record = annotation_record(
        Annotation(mask, keypoints), image_id=3, annotation_id=301, category_id=4
    )
    assert record["num_keypoints"] == 2
    assert record["keypoints"][15:21] == [10.25, 12, 2, 4, 3.5, 1]
    assert len(record["keypoints"]) == 51
    assert (record["image_id"], record["id"], record["iscrowd"]) == (3, 301, 0)
    assert record["category_id"] == 4


def test_category_is_that_of_coco(coco_mini_dir):
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    assert [person_category()] == json.loads(path.read_text())["categories"]
