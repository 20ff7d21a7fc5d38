"""Whatever a caller calls an image -> RGB pixels."""

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from data_pipeline.read.images import check_size, decode_photograph

# A path, an RGB array or a PIL image; Pillow itself is not needed.
ImageLike: TypeAlias = Any


def read_image(image: ImageLike) -> UInt8[np.ndarray, "H W 3"]:
    """Turn a path, an array or a PIL image into RGB pixels.

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
