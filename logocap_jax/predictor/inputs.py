"""From an image of any kind to the network's input."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Float64, UInt8

from data_pipeline.feed import affine, crops
from data_pipeline.read.images import check_size, decode_photograph

# A path, an RGB array or a PIL image; Pillow itself is not needed.
ImageLike: TypeAlias = Any

Size: TypeAlias = tuple[int, int]
Transform: TypeAlias = Float64[np.ndarray, "2 3"]

# `(width, height)` of an image -> that of its input, and the way from image px to it.
Fit: TypeAlias = Callable[[Size], tuple[Size, Transform]]

# Both sides of an input are multiples of it, unless the method asks for others, px.
MULTIPLE = 64


class Input(NamedTuple):
    """An image as the network takes it."""

    pixels: UInt8[np.ndarray, "H W 3"]  #: RGB canvas; black outside of `valid_size`
    #: Height and width of the image in it, from the first row and column on.
    valid_size: tuple[int, int]
    #: From input px to pixels of the original image.
    input_to_image: Float[np.ndarray, "2 3"]
    #: Canvases at further scales, made from the original image.
    scaled: tuple[UInt8[np.ndarray, "_ _ 3"], ...] = ()


def make_input(
    image: ImageLike,
    fit: Fit,
    canvas: Callable[[Size], Size] | None = None,
    scales: tuple[int | float, ...] = (),
) -> Input:
    """Read an image and warp it to the network's input.

    Args:
      image: as `read_image` takes it.
      fit: chooses the size of the input, and the image's place in it.
      canvas: size of an input -> size of the array that holds it; None: the same.
      scales: further scales; the sides of canvas and input times each are whole.

    Raises:
      ValueError: if it is no image, or none that fits.
    """
    pixels = read_image(image)
    size, transform = fit((pixels.shape[1], pixels.shape[0]))
    inverse = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    held = canvas(size) if canvas else size
    main, *scaled = (
        _warp(pixels, scale * transform, _times(size, scale), _times(held, scale))
        for scale in (1.0, *scales)
    )
    return Input(main, (size[1], size[0]), inverse, tuple(scaled))


def _times(size: Size, scale: int | float) -> Size:
    return int(size[0] * scale), int(size[1] * scale)


def _warp(
    pixels: UInt8[np.ndarray, "H0 W0 3"], transform: Transform, size: Size, canvas: Size
) -> UInt8[np.ndarray, "H W 3"]:
    """The image warped to `size`, in the corner of a black canvas."""
    held = np.zeros((canvas[1], canvas[0], 3), np.uint8)
    held[: size[1], : size[0]] = affine.warp_image(pixels, transform, size=size)
    return held


def by_short_side(
    short_side: int, multiple: int = MULTIPLE, rounding: str = "half up"
) -> Fit:
    """Inputs of one short side, as long as the image asks for.

    Args:
      short_side: input px, rounded up to a multiple; so is the long side.
      multiple: of the sides, input px.
      rounding: as for `affine.eval_affine`.

    Raises:
      ValueError: if the side is less than 1.
    """
    if short_side < 1:
        raise ValueError(f"got short_side={short_side}, expected 1 or more")

    def fit(image_size: Size) -> tuple[Size, Transform]:
        size = affine.eval_input_size(
            image_size, short_side=short_side, multiple=multiple, rounding=rounding
        )
        return size, affine.eval_affine(image_size, size, rounding)

    return fit


def few_canvases(
    short_side: int, multiple: int = MULTIPLE, rounding: str = "half up"
) -> Callable[[Size], Size]:
    """Canvases that inputs of many shapes share, each in the corner of its own.

    The short side stays; the long side is 1.5 times as long, or 1.5 times that, and so
    on. So images up to an aspect of 2.25, upright or lying, have four canvases.
    The arguments are those of `by_short_side`.
    """

    def canvas(size: Size) -> Size:
        aspect, long = 1.5, 0
        while long < max(size):
            # As long as the input of an image of this aspect.
            long = affine.eval_input_size(
                (1000, round(1000 * aspect)),
                short_side=short_side,
                multiple=multiple,
                rounding=rounding,
            )[1]
            aspect *= 1.5
        return (long, min(size)) if size[0] >= size[1] else (min(size), long)

    return canvas


def whole_picture(size: Size) -> Fit:
    """Crops of `size` that show all of an image, as the one person's.

    An image of that very size stays as it is; of another aspect the rest is black.
    """

    def fit(image_size: Size) -> tuple[Size, Transform]:
        box = np.array([0, 0, *image_size], np.float64)
        return size, crops.box_region(box, 1.0).affine(size)

    return fit


def person_box(box: Float[np.ndarray, "4"], size: Size, padding: float) -> Fit:
    """The crop of `size` around a person's box `x0 y0 x1 y1`, image px."""
    transform = crops.box_region(box, padding).affine(size)
    return lambda image_size: (size, transform)


def check_boxes(boxes: Any) -> Float64[np.ndarray, "n 5"]:
    """Boxes of people with their scores, 1 if there are none.

    Raises:
      ValueError: unless they are `[n, 4]` or `[n, 5]`, finite, and not empty.
    """
    try:
        rows = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"got boxes that are no array of numbers: {error}") from error
    if rows.size == 0:
        rows = rows.reshape(0, 4)
    if rows.ndim != 2 or rows.shape[1] not in (4, 5):
        raise ValueError(
            f"got boxes of shape {rows.shape}, expected [n, 4], x0 y0 x1 y1, or [n, 5] "
            "with scores"
        )
    fine = np.isfinite(rows).all(axis=1) & (rows[:, 2:4] > rows[:, :2]).all(axis=1)
    if not fine.all():
        raise ValueError(
            f"got box {rows[~fine][0].tolist()}, expected x0 < x1 and y0 < y1"
        )
    ones = np.ones((len(rows), 5 - rows.shape[1]))
    return np.concatenate([rows, ones], axis=1)


def letterbox(input_size: Size, rounding: str = "half up") -> Fit:
    """Inputs of one size: the whole image in its middle, black around it.

    An image that `by_short_side` brings to this very size lies exactly as there; any
    other is made smaller, isotropically, until all of it is inside.

    Args:
      input_size: `(width, height)`, input px.
      rounding: as for `affine.eval_affine`.
    """
    size = np.array(input_size)

    def fit(image_size: Size) -> tuple[Size, Transform]:
        transform = affine.eval_affine(image_size, input_size, rounding)
        covered = transform[0, 0] * np.array(image_size)
        # The rounding of `eval_input_size` may leave out less than a pixel.
        if np.any(covered >= size + 1):
            shrink = np.min(size / covered)
            transform *= shrink
            transform[:, 2] += (1 - shrink) * size / 2
        return input_size, transform

    return fit


def read_image(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    """Load an image (path, array or PIL) as RGB.

    EXIF orientation of files and PIL images is applied, so that up is up; arrays are
    taken as they are. Grey, palette and CMYK become RGB, 16-bit values 8-bit, and
    transparency is dropped. Of files JPEG and PNG are read; others (WebP, TIFF, ...)
    come in as PIL images.

    Args:
      image: path of a JPEG or PNG, RGB array `[H, W, 3]` of uint8, or PIL image.

    Raises:
      ValueError: if it is none of these, unreadable, too large or damaged.
    """
    if isinstance(image, (str, os.PathLike)):
        try:
            return decode_photograph(Path(image))
        except ValueError as error:
            raise ValueError(f"{os.fspath(image)}: {error}") from error
    if isinstance(image, np.ndarray):
        return _checked(image)
    if hasattr(image, "getexif") and hasattr(image, "convert"):
        check_size(*image.size)
        return _checked(_from_pil(image))
    raise ValueError(
        f"got an image of type {type(image).__name__}, expected a path, an RGB array "
        "[H, W, 3] of uint8, or a PIL image"
    )


def _from_pil(image: Any) -> np.ndarray:
    import PIL.ImageOps

    if image.mode in ("I", "F"):
        raise ValueError(
            f"got a PIL image of mode {image.mode!r}, whose range is not known; "
            "expected one of 8 or 16 bits: scale it and convert it to 'RGB'"
        )
    upright = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would clip it
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def _checked(image: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"got an array of {image.dtype} {list(image.shape)}, expected RGB uint8 "
            "[H, W, 3]"
        )
    check_size(image.shape[1], image.shape[0])
    return image
