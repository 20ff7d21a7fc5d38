import io
import pathlib

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipeline.read import images
from data_pipeline.read.records import ImageRecord


def record_of(image, width, height):
    return ImageRecord(
        image_id=7,
        file_name="some.jpg",
        width=width,
        height=height,
        keypoints=np.zeros((0, 17, 2), np.float32),
        visibility=np.zeros((0, 17), np.int8),
        bbox=np.zeros((0, 4), np.float32),
        area=np.zeros(0, np.float32),
        iscrowd=np.zeros(0, bool),
        segmentation=(),
        image=image,
    )


def encoded(pixels, extension):
    return cv2.imencode(extension, pixels)[1].tobytes()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 255, size=shape).astype(dtype)


def with_segment(jpeg, marker, payload):
    """A JPEG with another segment right behind its start marker."""
    size = (len(payload) + 2).to_bytes(2)
    return jpeg[:2] + bytes([0xFF, marker]) + size + payload + jpeg[2:]


@pytest.mark.row("images")
@pytest.mark.parametrize(
    ("pixels", "extension"),
    [
        (noise(9, 8), ".png"),
        (noise(9, 8, 4), ".png"),
        (noise(9, 8, 3).astype(np.uint16) * 256, ".png"),
        (noise(9, 8), ".jpg"),
        (noise(1, 1, 3), ".jpg"),
    ],
    ids=["grey", "transparent", "16 bit", "grey jpeg", "one pixel"],
)
def test_photographs_of_any_depth_become_rgb(pixels, extension):
    found = images.decode_photograph(encoded(pixels, extension))
    assert found.dtype == np.uint8
    assert found.shape == (*pixels.shape[:2], 3)


def test_photographs_are_turned_as_their_camera_says_and_records_are_not():
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:, 16:] = 255
    # "Exif", big-endian TIFF with one entry: orientation 6, turn by 90 degrees.
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    header = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01"
    jpeg = with_segment(encoded(upright, ".jpg"), 0xE1, header + entry + bytes(4))
    turned = images.decode_photograph(jpeg)
    assert turned.shape == (32, 16, 3)
    assert turned[4].mean() < 10
    assert turned[-4].mean() > 245
    assert images.decode_image(record_of(jpeg, 32, 16)).shape == (16, 32, 3)


@pytest.mark.row("bombs")
@pytest.mark.parametrize("claimed", [(30_000, 30_000), (0, 5)])
def test_photographs_of_a_size_without_sense_are_refused_undecoded(claimed):
    png = bytearray(encoded(noise(9, 8, 3), ".png"))
    png[16:24] = claimed[0].to_bytes(4) + claimed[1].to_bytes(4)
    with pytest.raises(ValueError, match=f"got {claimed[0]}x{claimed[1]} pixels"):
        images.decode_photograph(bytes(png))


@pytest.fixture(scope="module")
def photographs(coco_mini_dir):
    return [path.read_bytes() for path in sorted(coco_mini_dir.glob("val2017/*.jpg"))]


def size_of(jpeg):
    height, width = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape[:2]
    return width, height


@pytest.mark.row("images")
@pytest.mark.parametrize("share", [0.0005, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_truncated_photographs_are_refused(photographs, share):
    for jpeg in photographs[:8]:
        cut = jpeg[: max(2, int(len(jpeg) * share))]
        with pytest.raises(ValueError, match=r"image 7 \('some.jpg'\): got a trunc"):
            images.decode_image(record_of(cut, *size_of(jpeg)))


@pytest.mark.row("images")
def test_one_missing_byte_is_noticed(photographs):
    jpeg = photographs[0]
    with pytest.raises(ValueError, match="truncated"):
        images.decode_image(record_of(jpeg[:-1], *size_of(jpeg)))


@pytest.mark.row("images")
def test_truncation_is_noticed_behind_a_thumbnail(photographs):
    jpeg = photographs[0]
    both = with_segment(jpeg, 0xE1, b"Exif\0\0" + encoded(noise(8, 8, 3), ".jpg"))
    assert images.decode_image(record_of(both, *size_of(jpeg))).size
    with pytest.raises(ValueError, match="truncated"):
        images.decode_image(record_of(both[:-100], *size_of(jpeg)))


def test_all_photographs_decode_also_with_trailing_bytes(photographs):
    for jpeg in photographs:
        expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)[..., ::-1]
        padded = jpeg + b"\0" * 512
        got = images.decode_image(record_of(padded, *size_of(jpeg)))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.row("images")
@pytest.mark.parametrize(
    "pixels",
    [noise(20, 30), noise(20, 30, 3), noise(20, 30, 4), noise(20, 30, dtype=np.uint16)],
    ids=["grey", "colour", "alpha", "16 bit"],
)
def test_png_of_any_kind_becomes_rgb(pixels):
    got = images.decode_image(record_of(encoded(pixels, ".png"), 30, 20))
    assert got.shape == (20, 30, 3)
    assert got.dtype == np.uint8


def test_channels_come_in_rgb_order():
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[..., 0] = 255
    got = images.decode_image(record_of(encoded(blue, ".png"), 4, 4))
    assert got[0, 0].tolist() == [0, 0, 255]


@pytest.mark.row("images")
def test_exif_orientation_is_ignored():
    orientation_6 = (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    )
    jpeg = with_segment(encoded(noise(20, 30, 3), ".jpg"), 0xE1, orientation_6)
    rotated = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert rotated.shape[:2] == (30, 20)
    assert images.decode_image(record_of(jpeg, 30, 20)).shape[:2] == (20, 30)


PNG, JPEG = (encoded(noise(20, 30, 3), extension) for extension in (".png", ".jpg"))
HUGE_PNG = PNG[:16] + (14_000).to_bytes(4) * 2 + PNG[24:]
LONG_PNG = PNG[:16] + (20_000).to_bytes(4) + (1).to_bytes(4) + PNG[24:]
# A frame header of no known component, a scan, and the end.
BAD_JPEG = bytes.fromhex("ffd8 ffc0000b080014001e01011100 ffda000801010000003f00 ffd9")


@pytest.mark.row("images")
@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (b"", (30, 20), "expected JPEG or PNG"),
        (b"<html>not found</html>", (30, 20), "expected JPEG or PNG"),
        (b"GIF89a" + bytes(100), (30, 20), "expected JPEG or PNG"),
        (b"\xff\xd8", (30, 20), "truncated"),
        (b"\xff\xd8\xff\xd9", (30, 20), "truncated"),
        (bytes(1000), (30, 20), "expected JPEG or PNG"),
        (b"\xff\xd8" + bytes(1000), (30, 20), "truncated"),
        (PNG[:-12], (30, 20), "truncated PNG"),
        (PNG[: len(PNG) // 2], (30, 20), "truncated PNG"),
        (PNG, (20, 30), "got an image of 30x20, expected 20x30 as annotated"),
        (PNG[:16] + bytes(8) + PNG[24:], (0, 0), "got 0x0 pixels, expected at least"),
        (JPEG[: JPEG.index(b"\xff\xda")], (30, 20), "truncated or damaged JPEG"),
        (HUGE_PNG, (14_000, 14_000), "14000x14000 pixels, expected"),
        (LONG_PNG, (20_000, 1), "20000x1 pixels, expected"),
        (BAD_JPEG, (30, 20), "a JPEG that is damaged inside"),
    ],
)
def test_bad_data_is_named_and_explained(data, size, message):
    with pytest.raises(ValueError, match=message) as caught:
        images.decode_image(record_of(data, *size))
    assert "image 7 ('some.jpg')" in str(caught.value)


FRAME = JPEG.index(b"\xff\xc0") + 5
BOMBS = {
    "square PNG": (HUGE_PNG, (14_000, 14_000)),
    "PNG of a line": (
        PNG[:16] + (1_100_000).to_bytes(4) + (8).to_bytes(4) + PNG[24:],
        (1_100_000, 8),
    ),
    "PNG whose pixels overflow": (
        PNG[:16] + (2**31 - 1).to_bytes(4) * 2 + PNG[24:],
        (2**31 - 1, 2**31 - 1),
    ),
    "JPEG": (JPEG[:FRAME] + b"\xff\xdc" * 2 + JPEG[FRAME + 4 :], (65_500, 65_500)),
}


@pytest.mark.row("bombs")
@pytest.mark.parametrize(("data", "size"), BOMBS.values(), ids=BOMBS)
def test_small_files_of_huge_images_are_refused_before_they_are_decoded(
    monkeypatch, data, size
):
    monkeypatch.setattr(images.cv2, "imdecode", lambda *args: pytest.fail("decoded"))
    for decode in (
        lambda: images.decode_image(record_of(data, *size)),
        lambda: images.decode_photograph(data),
    ):
        with pytest.raises(ValueError, match=f"got {size[0]}x{size[1]} pixels, expec"):
            decode()


@pytest.mark.row("images")
def test_cmyk_becomes_rgb():
    stream = io.BytesIO()
    PIL.Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(stream, "JPEG")
    pixels = images.decode_image(record_of(stream.getvalue(), 30, 20))
    assert pixels.shape == (20, 30, 3)
    red, green, blue = pixels.mean(axis=(0, 1))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.row("images")
def test_files_that_are_no_images_are_refused(tmp_path):
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    for path, message in [
        (tmp_path / "absent.jpg", "no regular file"),
        (tmp_path, "no regular file"),
        (pathlib.Path("/dev/zero"), "no regular file"),
        (huge, "expected <="),
    ]:
        with pytest.raises(ValueError, match=message):
            images.decode_image(record_of(path, 30, 20))
