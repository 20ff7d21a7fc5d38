"""Inputs after public reports: each is sound, or named; exact poses score 1."""

import json
import shutil

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipeline.feed.loss_masks import ignored_region
from data_pipeline.read.doubts import Doubts
from data_pipeline.read.images import decode_photograph, orientation
from data_pipeline.read.sources import open_source
from data_pipeline.read.validate import validate
from logocap_jax import cli
from logocap_jax.evaluation.coco import evaluate_coco, load_ground_truth
from logocap_jax.evaluation.results import ImagePoses, to_coco

SOUND = {
    "02-empty-category/ball_null",
    "02-empty-category/coco17_plus_ball",
    "05-unlabelled-box/empty_segmentation",
}
NAMED = {
    "01-exif/o3_upside_down": "EXIF orientation 3",
    "01-exif/o6_json_stored_labelstudio": "EXIF orientation 6",
    "04-num-keypoints/zero_though_labelled": "num_keypoints 0 with labelled keypoints",
    "06-scale/area_from_origin": "an area above that of the box",
    "06-scale/labels_for_an_image_3x_as_large": "keypoints outside of their image",
    "06-scale/normalised": "everybody is smaller than 1 px",
    "07-same-file-twice/two_ids_half_each": "a photograph that is there under another",
    "08-jpeg-hole/half_and_end_marker": "a JPEG that is damaged inside",
    "08-jpeg-hole/one_page_of_zeros": "a JPEG that is damaged inside",
}


@pytest.fixture
def lay(shared_dir, tmp_path):
    """Copies a case, with its photographs in place."""

    def copy(name):
        folder = tmp_path / "data"
        shutil.copytree(shared_dir / "cases" / name, folder)
        for listed in folder.rglob("images.txt"):
            for line in listed.read_text(encoding="utf-8").splitlines():
                target, _, source = line.partition(" = ../shared/")
                shutil.copy(shared_dir / source, listed.with_name(target))
            listed.unlink()
        return folder

    return copy


@pytest.mark.parametrize("name", sorted(SOUND | NAMED.keys()))
def test_a_case_is_sound_or_named(lay, name, capsys):
    folder = lay(name)
    assert cli.main(["validate", str(folder)]) == int(name in NAMED)
    assert NAMED.get(name, "0 faults, 0 kinds of doubt") in capsys.readouterr().out


def exact_poses_score(source):
    truth = load_ground_truth(source.truth, skeleton=source.skeleton)
    poses = []
    for record in (source[i] for i in range(len(source))):
        found = record.has_keypoints & ~record.iscrowd
        points = record.keypoints[found]
        poses.append(
            ImagePoses(
                *(record.image_id, points, np.ones(points.shape[:2], np.float32)),
                scores=np.linspace(1, 0.5, len(points), dtype=np.float32),
            )
        )
    return evaluate_coco(truth, to_coco(poses), sigmas=source.skeleton.sigmas)["AP"]


@pytest.mark.parametrize(
    "name", sorted(SOUND | {"04-num-keypoints/zero_though_labelled"})
)
def test_exact_poses_score_one_and_everybody_is_scored(lay, name):
    source = open_source(lay(name), "train")
    people = sum(
        bool(flags.any())
        for record in (source[i] for i in range(len(source)))
        for flags in record.visibility > 0
    )
    counted = [person["num_keypoints"] for person in source.truth["annotations"]]
    assert sum(number > 0 for number in counted) == people
    assert exact_poses_score(source) == pytest.approx(1.0)


def test_a_box_without_keypoints_and_region_is_left_out_of_the_loss(lay):
    source = open_source(lay("05-unlabelled-box/empty_segmentation"), "train")
    for record in (source[i] for i in range(len(source))):
        region = ignored_region(record)
        for x, y, width, height in record.bbox[~record.has_keypoints]:
            inside = region[int(y) : int(y + height), int(x) : int(x + width)]
            assert inside.all()
        assert not record.has_keypoints.all()


def exif(value, order="<"):
    """A segment that says how the pixels are to be turned."""
    kind = {"<": b"II*\0", ">": b"MM\0*"}[order]
    word = {"<": "little", ">": "big"}[order]
    number = lambda n, size: int(n).to_bytes(size, word)  # noqa: E731
    other = number(0x010F, 2) + number(2, 2) + number(4, 4) + b"abc\0"
    entry = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(value, 2) + b"\0\0"
    tiff = kind + number(8, 4) + number(2, 2) + other + entry + number(0, 4)
    payload = b"Exif\0\0" + tiff
    return b"\xff\xe1" + (len(payload) + 2).to_bytes(2) + payload


@pytest.fixture(scope="module")
def jpeg():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = 255
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_is_read_and_obeyed(jpeg, order, value):
    turned = jpeg[:2] + exif(value, order) + jpeg[2:]
    assert orientation(turned) == value
    expected = np.asarray(decode_photograph(jpeg))
    if value in (2, 4, 5, 7):
        expected = expected[:, ::-1]
    turns = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[value]
    np.testing.assert_array_equal(decode_photograph(turned), np.rot90(expected, turns))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: exif(9) + data,
        lambda data: exif(6)[:20] + data,
        lambda data: exif(6).replace(b"II*", b"XX*") + data,
        lambda data: data,
    ],
)
def test_an_orientation_that_cannot_be_is_none(jpeg, damage):
    assert orientation(jpeg[:2] + damage(jpeg[2:])) == 1
    assert orientation(b"\x89PNG") == orientation(b"") == 1


@pytest.mark.parametrize(
    ("change", "is_damaged"),
    [
        (lambda data: data, False),
        (lambda data: data[:-2] + bytes(5) + data[-2:], False),  # filling
        (lambda data: data[:-2] + bytes(500) + data[-2:], True),
        (lambda data: data[:400] + data[-2:], True),
        (lambda data: data[:500] + bytes(300) + data[800:], True),
        (lambda data: data[:-999] + b"\xff\xd9" + data[-997:], True),
    ],
)
@pytest.mark.parametrize("colors", ["grey", "color", "cmyk"])
def test_damage_inside_of_a_jpeg_is_found(change, is_damaged, colors, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 4), dtype=np.uint8)
    image = {
        "grey": PIL.Image.fromarray(pixels[..., 0]),
        "color": PIL.Image.fromarray(pixels[..., :3]),
        "cmyk": PIL.Image.fromarray(pixels, "CMYK"),
    }[colors]
    path = tmp_path / "image.jpg"
    image.save(path, quality=90)
    data = change(path.read_bytes())
    if is_damaged:
        with pytest.raises(ValueError, match="damaged"):
            decode_photograph(data)
    else:
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decode_photograph(data), expected[..., ::-1])


def test_bytes_behind_the_end_of_a_png_are_passed_over(shared_dir):
    path = shared_dir / "cases" / "10-colours" / "png_trailing_2k.png"
    expected = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(decode_photograph(path), expected)
    data = path.read_bytes()
    for cut in (20, 40, data.index(b"IEND")):
        with pytest.raises(ValueError, match="truncated PNG"):
            decode_photograph(data[:cut])


@pytest.fixture
def record(lay):
    source = open_source(lay("02-empty-category/ball_null"), "train")
    return source[0]


def changed(record, **changes):
    values = {name: getattr(record, name) for name in vars(record)} | changes
    return type(record)(**values)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: {"keypoints": r.keypoints + 1e4}, "labelled keypoints outside"),
        (lambda r: {"area": r.area * 100}, "an area above that of the box"),
        (lambda r: {"bbox": r.bbox / 1e4}, "an area above that of the box"),
        (
            lambda r: {"keypoints": np.repeat(r.keypoints[:1], len(r.area), axis=0),
                       "visibility": np.repeat(r.visibility[:1], len(r.area), axis=0)},
            "a person who is annotated twice",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_named(record, change, what):
    doubts = Doubts()
    doubts.add(record)
    assert doubts.found() == ()
    doubts.add(changed(record, image_id=99, image=b"other", **change(record)))
    assert any(doubt.what.startswith(what) for doubt in doubts.found())


def test_small_people_are_named_where_nobody_is_larger(record):
    doubts = Doubts()
    small = {"bbox": record.bbox / 50, "area": record.area / 2500}
    doubts.add(changed(record, **small))
    (doubt,) = doubts.found()
    assert doubt.what.startswith("everybody is smaller than 32 px")
    doubts.add(changed(record, image=b"other"))
    assert doubts.found() == ()


def test_the_real_annotations_raise_no_doubt(shared_dir):
    for name in ("coco-mini", "photos"):
        reports = validate(shared_dir / "data" / name, progress=False)
        assert not [report.doubts for report in reports.values() if report.doubts]


def test_the_report_holds_doubts(lay, tmp_path):
    out = tmp_path / "report.json"
    folder = lay("06-scale/normalised")
    assert cli.main(["validate", str(folder), "--json", str(out)]) == 1
    (doubt,) = json.loads(out.read_text())["train"]["doubts"]
    assert doubt["times"] == 6
