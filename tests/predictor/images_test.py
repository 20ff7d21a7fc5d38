"""What counts as an image, and what becomes of the ways to store one."""

import cv2
import numpy as np
import PIL.Image
import pytest

from data_pipeline.feed import affine
from logocap_jax import structures
from logocap_jax.methods.base import InputSpec
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import by_short_side, few_canvases, read_image
from logocap_jax.predictor.predictor import Predictor
from logocap_jax.skeletons import COCO

# Upright: red grows to the right, green downwards.
ACROSS, DOWN = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 32))
UPRIGHT = np.stack([ACROSS, DOWN, np.full_like(DOWN, 90)], axis=-1).astype(np.uint8)
RGB = PIL.Image.fromarray(UPRIGHT)
GREY = np.repeat(np.asarray(RGB.convert("L"))[..., None], 3, axis=2)


def with_alpha(mode):
    image = RGB.convert(mode)
    image.putalpha(100)
    return image


def palette(**options):
    return RGB.quantize(256, **options)


def sixteen_bits():
    grey = np.asarray(RGB.convert("L")).astype(np.uint16)
    return PIL.Image.fromarray(grey * 256 + 77)


@pytest.mark.parametrize(
    ("image", "suffix", "expected", "error"),
    [
        (RGB, "png", UPRIGHT, 0),
        (RGB, "jpg", UPRIGHT, 8),
        (RGB.convert("L"), "png", GREY, 0),
        (RGB.convert("L"), "jpg", GREY, 4),
        (palette(), "png", UPRIGHT, 24),
        (with_alpha("RGBA"), "png", UPRIGHT, 0),
        (with_alpha("LA"), "png", GREY, 0),
        (sixteen_bits(), "png", GREY, 0),
        (RGB.convert("CMYK"), "jpg", UPRIGHT, 12),
        (RGB.convert("1"), "png", np.asarray(RGB.convert("1").convert("RGB")), 0),
    ],
    ids=[
        *("png", "jpeg", "grey", "grey jpeg", "palette", "transparent"),
        *("grey transparent", "16 bit", "cmyk", "black and white"),
    ],
)
def test_each_kind_of_image_becomes_the_rgb_that_people_see(
    tmp_path, image, suffix, expected, error
):
    path = tmp_path / f"image.{suffix}"
    image.save(path, quality=100) if suffix == "jpg" else image.save(path)
    with PIL.Image.open(path) as opened:
        for given in (path, str(path), opened):
            found = read_image(given)
            assert found.dtype == np.uint8
            assert found.shape == UPRIGHT.shape
            assert np.abs(found.astype(int) - expected).max() <= error


# How pixels as stored are turned upright, by EXIF's number.
TURNS = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photographs_are_turned_as_their_camera_says(tmp_path, orientation, suffix):
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"image.{suffix}"
    RGB.save(path, exif=exif)
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    expected = TURNS[orientation](stored[..., ::-1])
    np.testing.assert_array_equal(read_image(path), expected)
    with PIL.Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened), expected)


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tiff", "gif"])
def test_other_files_are_refused_by_name_but_come_in_through_pillow(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    RGB.save(path)
    with pytest.raises(ValueError, match="expected JPEG or PNG") as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: got a file that starts ")
    assert "\n" not in str(caught.value)
    with PIL.Image.open(path) as opened:
        assert read_image(opened).shape == UPRIGHT.shape


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIL.Image.new("I", (8, 9)), "mode 'I', whose range is not known"),
        (PIL.Image.new("F", (8, 9)), "mode 'F', whose range is not known"),
        (PIL.Image.new("1", (30_000, 30_000)), "got 30000x30000 pixels, expected side"),
        (np.zeros((9, 8), np.uint8), r"got an array of uint8 \[9, 8\]"),
        (np.zeros((9, 8, 4), np.uint8), r"got an array of uint8 \[9, 8, 4\]"),
        (np.zeros((9, 8, 3), np.uint16), r"got an array of uint16 \[9, 8, 3\]"),
        (b"bytes", "got an image of type bytes"),
    ],
)
def test_what_is_no_image_in_memory_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        read_image(image)


@pytest.mark.parametrize("share", [False, True])
def test_a_method_gets_the_further_scales_that_it_asks_for(share):
    views = []

    def predict(view):
        views.append(view)
        batch = len(view.image)
        zeros = np.zeros((batch, 1, 17))
        return structures.Poses(
            np.zeros((batch, 1, 17, 2)), zeros, zeros[..., 0], zeros[..., 0] > 1
        )

    inputs = InputSpec(scales=(2.0, 0.5))
    predictor = Predictor(
        Model(predict, COCO, inputs=inputs),
        by_short_side(64),
        canvas=few_canvases(64) if share else None,
    )
    image = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
    predictor(image)
    (view,) = views
    canvas = view.image.shape[1:3]
    (width, height), transform = by_short_side(64)((150, 90))
    assert share or canvas == (height, width)
    for scale, found in zip((2, 0.5), view.scaled, strict=True):
        size = int(width * scale), int(height * scale)
        expected = affine.warp_image(image, scale * transform, size=size)
        assert found.shape[1:3] == tuple(int(side * scale) for side in canvas)
        np.testing.assert_array_equal(found[0, : size[1], : size[0]], expected)
