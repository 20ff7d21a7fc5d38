import dataclasses

import cv2
import numpy as np
import pytest

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.examples import (
    PERSON_SIZES,
    empty_example,
    eval_example,
    make_example,
    map_example,
    train_example,
)
from data_pipeline.read.images import decode_image
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import open_source
from logocap_jax.skeletons import COCO
from logocap_jax.structures import Batch

MIRRORED = Augmentation(
    rotation_deg=0.0, scale_min=1.0, scale_max=1.0, translation=0.0, mirror=1.0
)


def record_of(keypoints, area, *, visibility=None, iscrowd=None, dot=None, bbox=None):
    """A black image of 80x60; keypoints `[n, 17, 2]`, all visible by default."""
    count = len(area)
    image = np.zeros((60, 80, 3), np.uint8)
    if dot is not None:
        cv2.circle(image, dot, 4, (255, 255, 255), -1)
    if visibility is None:
        visibility = np.full((count, 17), 2)
    return ImageRecord(
        image_id=7,
        file_name="some.png",
        width=80,
        height=60,
        keypoints=np.asarray(keypoints, np.float32).reshape(count, 17, 2),
        visibility=np.asarray(visibility, np.int8).reshape(count, 17),
        bbox=np.zeros((count, 4), np.float32) if bbox is None else np.float32(bbox),
        area=np.asarray(area, np.float32),
        iscrowd=np.zeros(count, bool) if iscrowd is None else np.array(iscrowd, bool),
        segmentation=("",) * count,
        image=cv2.imencode(".png", image)[1].tobytes(),
    )


def trained(record, *, augmentation, max_people=5, input_size=120, seed=0):
    return train_example(
        record,
        np.random.default_rng(seed),
        skeleton=COCO,
        input_size=input_size,
        augmentation=augmentation,
        max_people=max_people,
    )


def bright_spot(image):
    rows, columns = np.nonzero(image[..., 0] > 128)
    return [columns.mean(), rows.mean()]


def test_unaugmented_people_are_scaled_to_the_input():
    # The middle 60x60 of 80x60, doubled: x' = 2 (x - 10), y' = 2 y.
    record = record_of(np.tile([50.0, 20.0], (1, 17, 1)), [1500.0])
    example = trained(record, augmentation=Augmentation.none())
    np.testing.assert_allclose(example["keypoints"][0], [[80.0, 40.0]] * 17)
    np.testing.assert_allclose(example["area"], [6000.0, 1, 1, 1, 1])
    assert example["person"].tolist() == [True, False, False, False, False]
    assert example["labelled"][0].all()
    assert not example["labelled"][1:].any()
    assert not example["mirrored"]


def test_a_mirror_moves_pixels_and_points_alike_and_swaps_sides():
    keypoints = np.zeros((1, 17, 2))
    left_wrist = COCO.keypoints.index("left_wrist")
    right_wrist = COCO.keypoints.index("right_wrist")
    keypoints[0, left_wrist] = [25, 30]
    visibility = np.zeros((1, 17))
    visibility[0, left_wrist] = 1
    record = record_of(keypoints, [1500.0], visibility=visibility, dot=(25, 30))
    plain = trained(record, augmentation=Augmentation.none())
    example = trained(record, augmentation=MIRRORED)
    assert example["mirrored"]
    np.testing.assert_array_equal(example["image"], plain["image"][:, ::-1])
    assert example["labelled"][0].nonzero()[0].tolist() == [right_wrist]
    point = example["keypoints"][0, right_wrist]
    np.testing.assert_allclose(point, [119 - 30, 60])
    np.testing.assert_allclose(point, bright_spot(example["image"]), atol=0.6)


@pytest.mark.parametrize("seed", range(8))
def test_augmentation_moves_pixels_and_points_alike(seed):
    record = record_of(np.tile([42.0, 28.0], (1, 17, 1)), [1500.0], dot=(42, 28))
    augmentation = Augmentation(translation=10.0)
    example = trained(record, augmentation=augmentation, seed=seed)
    expected = bright_spot(example["image"])
    np.testing.assert_allclose(example["keypoints"][0, 0], expected, atol=0.7)


def test_keypoints_outside_the_crop_stay_labelled():
    record = record_of(np.tile([2.0, 20.0], (1, 17, 1)), [1500.0])
    example = trained(record, augmentation=Augmentation.none())
    assert example["labelled"][0].all()
    assert (example["keypoints"][0, :, 0] == -16).all()


def test_small_people_have_no_center_by_their_area_in_the_image():
    record = record_of(np.zeros((2, 17, 2)), [1023.0, 1024.0])
    example = trained(record, augmentation=Augmentation.none())
    assert example["has_center"].tolist() == [False, True, False, False, False]


def test_crowds_with_keypoints_count_and_people_without_do_not():
    visibility = np.zeros((3, 17))
    visibility[0] = 2
    visibility[2, 3] = 1
    record = record_of(
        np.arange(102), [10.0, 20.0, 30.0], visibility=visibility, iscrowd=[1, 0, 0]
    )
    example = trained(record, augmentation=Augmentation.none())
    assert example["person"].tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(example["area"][:3], [40.0, 120.0, 80.0])


def test_people_without_keypoints_come_last_with_box_and_center():
    visibility = np.zeros((5, 17))
    visibility[3] = 2
    record = record_of(
        np.zeros(170),
        [2000.0, 1023.0, 3000.0, 10.0, 1024.0],
        visibility=visibility,
        iscrowd=[0, 0, 1, 0, 0],
        bbox=[
            [20, 10, 10, 6],
            [1, 2, 3, 4],
            [0, 0, 9, 9],
            [30, 20, 4, 2],
            [5, 6, 7, 8],
        ],
    )
    example = trained(record, augmentation=Augmentation.none())
    # Annotation 3 has keypoints, 2 is a crowd; x' = 2 (x - 10), y' = 2 y.
    assert example["person"].tolist() == [True, False, False, False, False]
    assert example["has_center"].tolist() == [False, True, False, True, False]
    assert not example["labelled"][1:].any()
    np.testing.assert_allclose(example["area"] / 4, [10, 2000, 1023, 1024, 1 / 4])
    expected = [[40, 40, 48, 44], [20, 20, 40, 32], [-18, 4, -12, 12], [-10, 12, 4, 28]]
    np.testing.assert_allclose(example["box"], [*expected, [0, 0, 0, 0]], atol=1e-5)
    fewer = trained(record, augmentation=Augmentation.none(), max_people=2)
    np.testing.assert_allclose(fewer["area"] / 4, [10, 2000])


@pytest.mark.parametrize("mirror", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_middle_of_a_box_is_where_its_pixel_goes(seed, mirror):
    record = record_of(
        np.zeros(34),
        [1500.0],
        visibility=np.zeros(17),
        dot=(42, 28),
        bbox=[[37, 20, 10, 16]],
    )
    augmentation = Augmentation(translation=10.0, mirror=mirror)
    example = trained(record, augmentation=augmentation, seed=seed)
    box = example["box"][0]
    middle = (box[:2] + box[2:]) / 2
    np.testing.assert_allclose(middle, bright_spot(example["image"]), atol=0.7)
    # The way back is exact, through rotation and mirror.
    back = example["input_to_image"]
    np.testing.assert_allclose(back[:, :2] @ middle + back[:, 2], [42, 28], atol=1e-4)
    # Upright around all four corners.
    corners = np.array([[37, 20], [47, 20], [47, 36], [37, 36], [42, 28]])
    corners = (corners - back[:, 2]) @ np.linalg.inv(back[:, :2]).T
    np.testing.assert_allclose(box[:2], corners.min(axis=0), atol=1e-3)
    np.testing.assert_allclose(box[2:], corners.max(axis=0), atol=1e-3)


def test_content_is_where_the_photograph_lies():
    record = record_of(np.zeros((0, 17, 2)), [])
    for augmentation, x0, x1 in ((Augmentation.none(), -21, 139), (MIRRORED, -20, 140)):
        content = trained(record, augmentation=augmentation)["content"]
        np.testing.assert_allclose(content, [x0, -1, x1, 119])
    example = eval_example(record, short_side=64, max_people=1, multiple=64)
    scale = 64 / 60
    x0, y0, x1, y1 = example["content"]
    np.testing.assert_allclose([x1 - x0, y1 - y0], [80 * scale, 64], rtol=1e-6)
    (rows, columns) = np.nonzero(example["masks"][4])
    assert 4 * columns.min() >= x0 - 2
    assert 4 * columns.max() <= x1 + 2
    assert 4 * rows.max() <= y1 + 2


def test_more_people_than_slots_are_refused():
    example = empty_example((64, 32), num_keypoints=3, max_people=2)
    many = {name: example[name] for name in ("image", "masks", "keypoints", "labelled")}
    many |= {name: example[name] for name in ("area", "has_center", "box")}
    with pytest.raises(ValueError, match="got 2 people, expected up to 1"):
        make_example(**many, max_people=1)


def test_an_empty_example_has_the_arrays_of_any_other():
    empty = empty_example(
        (128, 128), num_keypoints=17, max_people=5, mask_strides=(2, 4)
    )
    example = train_example(
        record_of(np.zeros((1, 17, 2)), [1.0]),
        np.random.default_rng(0),
        skeleton=COCO,
        input_size=128,
        augmentation=Augmentation(),
        max_people=5,
        mask_strides=(2, 4),
    )

    def shape_of(array):
        return array.shape, str(array.dtype)

    assert map_example(shape_of, empty) == map_example(shape_of, example)
    assert set(example) == {field.name for field in dataclasses.fields(Batch)}


@pytest.mark.row("annotations")
@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 40])
def test_any_number_of_people_gives_the_same_shapes(count):
    record = record_of(np.zeros((count, 17, 2)), np.ones(count))
    example = trained(record, augmentation=Augmentation())
    assert example["person"].sum() == min(count, 5)
    assert map_example(lambda a: (a.shape, str(a.dtype)), example) == {
        "image": ((120, 120, 3), "uint8"),
        "masks": {4: ((30, 30), "uint8")},
        "keypoints": ((5, 17, 2), "float32"),
        "labelled": ((5, 17), "bool"),
        "area": ((5,), "float32"),
        "size": ((5, 2), "float32"),
        "person": ((5,), "bool"),
        "has_center": ((5,), "bool"),
        "mirrored": ((), "bool"),
        "box": ((5, 4), "float32"),
        "content": ((4,), "float32"),
        "input_to_image": ((2, 3), "float32"),
        "scaled": (),
    }


@pytest.mark.row("annotations")
def test_of_too_many_people_the_largest_stay_in_annotation_order():
    record = record_of(np.zeros((5, 17, 2)), [30.0, 10.0, 50.0, 10.0, 20.0])
    example = trained(record, augmentation=Augmentation.none(), max_people=3)
    np.testing.assert_allclose(example["area"] / 4, [30.0, 50.0, 20.0])


def test_eval_example_goes_back_to_the_image():
    keypoints = np.random.default_rng(0).uniform(0, 60, size=(1, 17, 2))
    example = eval_example(
        record_of(keypoints, [1500.0]), short_side=128, max_people=3, multiple=64
    )
    assert example["image"].shape == (128, 192, 3)
    assert example["masks"][4].shape == (32, 48)
    assert example["image_id"] == 7
    assert example["image_id"].dtype == np.int64
    assert example["image_size"].tolist() == [80, 60]
    back = example["input_to_image"]
    got = example["keypoints"][0] @ back[:, :2].T + back[:, 2]
    np.testing.assert_allclose(got, keypoints[0], atol=1e-4)


def test_real_images_give_finite_examples(coco_mini_dir):
    source = open_source(coco_mini_dir, "train")
    for index in range(len(source)):
        example = trained(source[index], augmentation=Augmentation(), seed=index)
        assert np.isfinite(example["keypoints"]).all()
        assert (example["area"] > 0).all()
        assert set(np.unique(example["masks"][4])) <= {0, 1}


def test_an_unreadable_image_is_named():
    record = record_of(np.zeros((1, 17, 2)), [1.0])
    broken = ImageRecord(**{**vars(record), "image": record.image[:50]})
    with pytest.raises(
        ValueError, match=r"image 7 \('some.png'\): got a truncated PNG"
    ):
        trained(broken, augmentation=Augmentation())


def test_further_scales_are_warped_from_the_photograph():
    # An image larger than its input: scale 2 shows pixels that scale 1 has not.
    pixels = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
    record = dataclasses.replace(
        record_of(np.zeros((1, 17, 2)), [100]),
        **{
            "width": 150,
            "height": 90,
            "image": cv2.imencode(".png", pixels)[1].tobytes(),
        },
    )
    pixels = decode_image(record)
    example = eval_example(record, short_side=64, max_people=1, scales=(2.0, 0.5))
    double, half = example["scaled"]
    height, width = example["image"].shape[:2]
    assert double.shape == (2 * height, 2 * width, 3)
    assert half.shape == (height // 2, width // 2, 3)
    # Specification of the siblings, 1: one scale, the image's middle to the input's.
    for scale, found in ((2, double), (0.5, half)):
        factor = found.shape[0] / 90
        middle = np.array([int(150 / 2 + 0.5), int(90 / 2 + 0.5)])
        shift = np.array(found.shape[1::-1]) / 2 - factor * middle
        affine = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
        size = (int(width * scale), int(height * scale))
        np.testing.assert_array_equal(
            found, cv2.warpAffine(pixels, affine, size, flags=cv2.INTER_LINEAR)
        )


def test_people_are_measured_by_the_rule_asked_for():
    # The first has three labelled keypoints, the second one, the third none.
    keypoints, visibility = np.zeros((3, 17, 2)), np.zeros((3, 17))
    keypoints[0, :3], visibility[0, :3] = [[50, 20], [53, 24], [51, 23]], (1, 2, 2)
    keypoints[0, 3] = [70, 55]  # not labelled
    keypoints[1, 5], visibility[1, 5] = [30, 40], 2
    record = record_of(
        keypoints,
        [1000.5, 10, 2000],
        visibility=visibility,
        bbox=[[40, 10, 20.5, 30], [0, 0, 3, 4], [1, 2, 5, 6]],
    )
    expected = {
        "area": [1000.5, 10, 2000],
        "box": [615, 12, 30],
        "extent": [3**2 + 4**2, 1, 1],
        "origin": [53**2 + 24**2, 30**2 + 40**2, 1],
    }
    assert set(expected) == set(PERSON_SIZES)
    for rule, sizes in expected.items():
        example = train_example(
            record,
            np.random.default_rng(0),
            skeleton=COCO,
            input_size=120,
            augmentation=MIRRORED,
            max_people=5,
            person_size=rule,
        )
        # x' = 2 (x - 10), y' = 2 y.
        np.testing.assert_allclose(example["size"][:, 0] / 4, [*sizes, 1 / 4, 1 / 4])
        np.testing.assert_allclose(example["area"][:3] / 4, expected["area"])


def test_what_rounding_takes_off_a_size_is_kept():
    record = record_of(np.zeros((2, 17, 2)), [1500.0, 3000.0])
    example = trained(record, augmentation=Augmentation(), seed=1)
    factor = example["size"][0].astype(np.float64).sum() / 1500
    assert example["size"][0, 1] != 0
    exact = example["size"][:2].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(exact, factor * np.array([1500, 3000]), rtol=1e-12)
    np.testing.assert_array_equal(example["size"][2:], [[1, 0]] * 3)


def test_people_of_any_area_have_a_center_where_no_least_area_is_set():
    record = record_of(np.zeros((2, 17, 2)), [3.0, 2000.0])
    for least, expected in ((0.0, [True, True]), (2000.5, [False, False])):
        example = eval_example(
            record, short_side=64, max_people=2, min_center_area=least
        )
        assert example["has_center"].tolist() == expected


def test_people_without_outlines_leave_the_mask_whole():
    # As in CrowdPose's files: nobody has a segmentation.
    record = record_of(np.zeros((1, 17, 2)), [2000.0], visibility=np.zeros(17))
    example = trained(record, augmentation=Augmentation.none())
    assert example["masks"][4].all()
