import dataclasses
import json
import pathlib

import cv2
import numpy as np
import pytest

from data_pipeline.feed import crops
from data_pipeline.feed.crops import CropAugmentation, Region
from data_pipeline.feed.eval_batches import make_crop_batches
from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.people import PeopleSource, read_detections
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import RecordSource, open_source
from logocap_jax.skeletons import COCO

NONE = CropAugmentation(
    **dict.fromkeys(("mirror", "half_body", "shift", "scale", "rotation_deg"), 0.0)
)
SIZE = (96, 128)


def record(people=2, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (60, 80, 3), np.uint8)
    keypoints = rng.uniform(0, 60, (people, 17, 2)).astype(np.float32)
    return ImageRecord(
        image_id=7,
        file_name="7.png",
        width=80,
        height=60,
        keypoints=keypoints,
        visibility=np.full((people, 17), 2, np.int8),
        bbox=np.tile(np.float32([10, 5, 90, 20]), (people, 1)),
        area=np.full(people, 900, np.float32),
        iscrowd=np.zeros(people, bool),
        segmentation=("",) * people,
        image=cv2.imencode(".png", pixels)[1].tobytes(),
    )


def source(*records):
    return RecordSource(records, COCO, AnnotationFile(pathlib.Path("none.json")))


def test_the_middle_of_the_region_is_that_of_the_crop_and_sides_reach_its_edges():
    affine = Region(np.array([30.0, 20]), np.array([24.0, 10])).affine(SIZE)
    # 24 px wide fill 96: four times; the height follows the crop's aspect.
    np.testing.assert_allclose(affine, [[4, 0, 48 - 120], [0, 4, 64 - 80]])


def test_the_taller_side_decides_where_it_is_longer():
    affine = Region(np.zeros(2), np.array([10.0, 64])).affine(SIZE)
    np.testing.assert_allclose(affine[:, :2], 2 * np.eye(2))


def test_one_person_a_record_without_crowds_and_unlabelled_ones():
    crowd = record(3)
    crowd.iscrowd[0] = True
    crowd.visibility[2] = 0
    people = PeopleSource(source(crowd, record(1), record(0)))
    assert len(people) == 2
    assert people.image_ids == [7, 7, 7]
    assert people.sizes == [(80, 60)] * 2
    np.testing.assert_array_equal(people[0].keypoints, crowd.keypoints[1:2])
    # Cut at the middle of the last pixel: 79, not 100.
    np.testing.assert_array_equal(people[0].bbox, [[10, 5, 69, 20]])


def test_detected_boxes_are_taken_as_they_are(tmp_path):
    rows = [
        {"image_id": 7, "category_id": 1, "bbox": [-5, 0, 200, 10], "score": 0.5},
        {"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.9},
        {"image_id": 8, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.9},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    found = read_detections(tmp_path / "boxes.json")
    people = PeopleSource(source(record(2)), found)
    assert (len(people), people.scores) == (1, [0.5])
    np.testing.assert_array_equal(people[0].bbox, [[-5, 0, 200, 10]])
    assert not people[0].visibility.any()
    (batch,) = make_crop_batches(people, size=SIZE, padding=1.25, batch_size=2)
    np.testing.assert_array_equal(batch["valid"], [True, False])
    np.testing.assert_allclose(batch["box_score"], 0.5)
    assert batch["image"].shape == (2, 128, 96, 3)


@pytest.mark.parametrize("text", ["{}x", '[{"image_id": 1}]', '{"a": 1}', "[[1]]"])
def test_a_file_without_boxes_is_refused(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(ValueError, match="expected a list of boxes"):
        read_detections(tmp_path / "boxes.json")


def test_without_augmentation_training_and_test_crops_agree():
    (one,) = [PeopleSource(source(record(1)))[0]]
    rng = np.random.default_rng(0)
    kind = {"size": SIZE, "padding": 1.25}
    train = crops.train_crop(one, rng, skeleton=COCO, augmentation=NONE, **kind)
    test = crops.eval_crop(one, **kind)
    for name in ("image", "keypoints", "labelled", "box"):
        np.testing.assert_array_equal(train[name], test[name])


def test_a_mirrored_crop_is_the_mirror_image_with_sides_swapped():
    one = PeopleSource(source(record(1)))[0]
    kind = {"size": SIZE, "padding": 1.25, "skeleton": COCO}
    plain, mirrored = (
        crops.train_crop(
            one,
            np.random.default_rng(0),
            augmentation=dataclasses.replace(NONE, mirror=mirror),
            **kind,
        )
        for mirror in (0.0, 1.0)
    )
    # The middle of a region is pixel W / 2, its mirror image W / 2 too: so a pixel
    # x lands at W - x.
    expected = plain["keypoints"][0][COCO.flip_index] * [-1, 1] + [SIZE[0], 0]
    np.testing.assert_allclose(mirrored["keypoints"][0], expected, atol=1e-3)
    np.testing.assert_allclose(
        mirrored["image"][:, 1:].astype(int),
        plain["image"][:, :0:-1].astype(int),
        atol=9,
    )


def test_numbers_are_drawn_within_their_ranges():
    rng, region = np.random.default_rng(0), Region(np.zeros(2), np.array([40.0, 80]))
    keypoints, nothing = np.zeros((17, 2), np.float32), np.zeros(17, bool)
    drawn = [
        CropAugmentation().draw(rng, region, keypoints, nothing, COCO)
        for _ in range(400)
    ]
    shifts = np.array([each.center for each in drawn])
    assert np.abs(shifts).max(axis=0) == pytest.approx([6.4, 12.8], rel=0.1)
    assert np.mean(np.any(shifts != 0, axis=1)) == pytest.approx(0.3, abs=0.06)
    factors = np.array([each.sides[0] / 40 for each in drawn])
    assert 0.5 <= factors.min() < 0.53
    assert 1.47 < factors.max() <= 1.5
    turns = np.array([each.rotation_deg for each in drawn])
    assert np.abs(turns).max() == pytest.approx(80, rel=0.05)
    assert np.mean(turns != 0) == pytest.approx(0.6, abs=0.07)


def half(labelled, seed):
    rng = np.random.default_rng(seed)
    keypoints = np.arange(34, dtype=np.float32).reshape(17, 2) ** 2
    augmentation = dataclasses.replace(NONE, half_body=1.0)
    region = Region(np.zeros(2), np.ones(2))
    found = augmentation.draw(rng, region, keypoints, labelled, COCO)
    upper = keypoints[:11][labelled[:11]]
    lower = keypoints[11:][labelled[11:]]
    return found, upper, lower


def is_of(region, points):
    sides = 1.5 * np.ptp(points, axis=0)
    return np.allclose(region.center, points.mean(axis=0)) and np.allclose(
        region.sides, sides
    )


def test_the_upper_half_is_shown_with_seven_of_ten():
    chosen = [half(np.ones(17, bool), seed) for seed in range(200)]
    uppers = [is_of(region, upper) for region, upper, _ in chosen]
    lowers = [is_of(region, lower) for region, _, lower in chosen]
    assert all(a or b for a, b in zip(uppers, lowers, strict=True))
    assert np.mean(uppers) == pytest.approx(0.7, abs=0.1)


def test_a_half_needs_its_keypoints():
    labelled = np.ones(17, bool)
    labelled[13:] = False  # two hips are too few
    for seed in range(8):
        region, upper, _ = half(labelled, seed)
        assert is_of(region, upper)
    labelled[:4] = labelled[8:11] = False  # fewer than nine in all
    assert half(labelled, 0)[0].sides.tolist() == [1, 1]


def test_crops_of_photographs_are_those_of_the_reference(shared_dir):
    root = shared_dir / "siblings/sar/parity/tiny_hrnet"
    with np.load(root / "train_step.npz") as file:
        case = dict(file)
    folder = shared_dir / "data/coco-mini"
    records = {
        each.image_id: each
        for split in ("train", "val")
        for each in open_source(folder, split)
    }
    for i in range(2):
        photo = records[int(case["image_id"][i])]
        to_mirror = np.eye(3)
        if case["flip"][i]:
            to_mirror[0] = [-1, 0, photo.width - 1]
        region = Region(
            case["bbox_center"][i].astype(float),
            case["bbox_scale"][i].astype(float),
            float(case["bbox_rotation"][i]),
        )
        affine = region.affine(SIZE) @ to_mirror
        pixels = crops.warp_image(crops.decode_image(photo), affine, size=SIZE)
        error = np.abs(pixels.astype(int) - case["crop_rgb"][i])
        assert np.mean(error > 6) < 1e-3
