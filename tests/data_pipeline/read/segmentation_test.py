import json

import numpy as np
import pycocotools.mask
import pytest

from data_pipeline.read.images import check_segmentation, decode_segmentation

TRIANGLE = [1.0, 1.0, 8.0, 1.0, 8.0, 6.0]


def expected_mask(segmentation, shape):
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return pycocotools.mask.decode(segmentation).astype(bool)
    runs = pycocotools.mask.frPyObjects(segmentation, *shape)
    runs = runs if isinstance(runs, list) else [runs]
    return pycocotools.mask.decode(pycocotools.mask.merge(runs)).astype(bool)


# 2026-11: pycocotools 2.0.11 lags behind NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "file",
    [
        "coco-mini/annotations/person_keypoints_train2017.json",
        "coco-mini/annotations/person_keypoints_val2017.json",
        "samples/ochuman/test_ochuman.json",
    ],
)
def test_real_segmentations_decode_as_with_pycocotools(shared_dir, file):
    content = json.loads((shared_dir / "data" / file).read_text())
    shapes = {
        image["id"]: (image["height"], image["width"]) for image in content["images"]
    }
    segmentations = [
        (a["segmentation"], shapes[a["image_id"]])
        for a in content["annotations"]
        if a.get("segmentation")
    ]
    assert len(segmentations) >= 5
    for segmentation, shape in segmentations:
        got = decode_segmentation(segmentation, shape)
        np.testing.assert_array_equal(got, expected_mask(segmentation, shape))


def test_random_masks_survive_compression():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((37, 53)) < rng.random()
        runs = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        segmentation = {"size": [37, 53], "counts": runs["counts"].decode()}
        np.testing.assert_array_equal(decode_segmentation(segmentation, (37, 53)), mask)


def test_run_lengths_start_with_zeros_and_go_down_columns():
    got = decode_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3))
    assert got.tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.row("annotations")
@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[*TRIANGLE[:5], float("nan")]],
        [[*TRIANGLE[:5], 1e9]],
        [[*TRIANGLE[:5], "6"]],
        [TRIANGLE, None],
        "text",
        7,
        {"counts": [60]},
        {"size": [6, 10]},
        {"size": [10, 6], "counts": [60]},
        {"size": [6, 10], "counts": [59]},
        {"size": [6, 10], "counts": [61]},
        {"size": [6, 10], "counts": [65, -5]},
        {"size": [6, 10], "counts": [60.0]},
        {"size": [6, 10], "counts": None},
        {"size": [6, 10], "counts": "zzzz"},
        {"size": [6, 10], "counts": ""},
        {"size": [6, 10], "counts": "\x00é"},
        {"size": [6, 10], "counts": "o" * 5000},
    ],
)
def test_bad_segmentations_are_refused(segmentation):
    for use in (check_segmentation, decode_segmentation):
        with pytest.raises(ValueError, match="got a segmentation"):
            use(segmentation, (6, 10))
