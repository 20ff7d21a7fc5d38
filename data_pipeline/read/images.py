"""Encoded images and segmentations to pixels; every way to fail is a `ValueError`.

An image's size is read from the file's header before anything is decoded, so that a
small file that claims a huge image never allocates it. Truncation is found by looking
for the end marker. Damage inside of a JPEG is what libjpeg warns of: it goes on, and
fills the rest with grey. OpenCV keeps these warnings to itself, so simplejpeg decodes;
it is the same libjpeg-turbo, and gives the same pixels.

Segmentations are polygons, or run lengths in column order, plain or compressed.
pycocotools fills the mask of run lengths that end early with whatever memory held, so
run lengths are checked and decoded here; it renders only the polygons.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pycocotools.mask
import simplejpeg
from jaxtyping import Bool, UInt8

from data_pipeline.read.records import ImageRecord

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
# OpenCV warps no image with a side of 2^15 or more.
MAX_SIDE = 16_384

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_ORIENTATION = 0x0112
_FILLING = 64  # bytes
# Start-of-frame markers; C4, C8 and CC in that range mean something else.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode_image(record: ImageRecord) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the image of a record to RGB.

    EXIF orientation is ignored: the reference reads images so, and annotations are
    in the pixels as stored.

    Raises:
      ValueError: if the image is missing, too large, neither JPEG nor PNG,
        truncated, damaged, or of another size than annotated.
    """
    try:
        encoded = read_encoded(record.image)
        size, expected = encoded_size(encoded), (record.width, record.height)
        if size != expected:
            turned = orientation(encoded)
            swapped = turned > 4 and size == expected[::-1]
            raise ValueError(
                f"got an image of {size[0]}x{size[1]}, expected "
                f"{expected[0]}x{expected[1]} as annotated"
                + (f"; its EXIF orientation {turned} swaps them" if swapped else "")
            )
        return _decode(encoded, upright=False)
    except ValueError as error:
        raise ValueError(f"{record.name}: {error}") from error


def decode_photograph(image: pathlib.Path | bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image to RGB as people see it: EXIF orientation is applied.

    Grey, palette and CMYK images become RGB, 16-bit ones 8-bit; transparency is
    dropped.

    Raises:
      ValueError: if the image is missing, too large, neither JPEG nor PNG, truncated
        or damaged.
    """
    encoded = read_encoded(image)
    encoded_size(encoded)
    return _decode(encoded, upright=True)


def read_encoded(image: pathlib.Path | bytes) -> bytes:
    """Return the encoded bytes of an image, from its file unless at hand.

    Raises:
      ValueError: if there is no such regular file, or it is unreadable or too large.
    """
    if isinstance(image, bytes):
        return image
    if not image.is_file():
        raise ValueError(f"got no regular file at {str(image)!r}, expected an image")
    try:
        size = image.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"got {size} bytes, expected <= {MAX_FILE_BYTES}")
        return image.read_bytes()
    except OSError as error:
        raise ValueError(f"got an unreadable file: {error}") from error


def encoded_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of an encoded image, as stored, without decoding it.

    Raises:
      ValueError: if it is too large, neither JPEG nor PNG, or truncated.
    """
    if len(encoded) > MAX_FILE_BYTES:
        raise ValueError(f"got {len(encoded)} bytes, expected <= {MAX_FILE_BYTES}")
    width, height = _header_size(encoded)
    check_size(width, height)
    return width, height


def check_size(width: int, height: int) -> None:
    """Check the size of an image, before it is decoded or warped.

    Raises:
      ValueError: if it has no pixels, or too many.
    """
    if min(width, height) < 1:
        raise ValueError(f"got {width}x{height} pixels, expected at least one")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ValueError(
            f"got {width}x{height} pixels, expected sides <= {MAX_SIDE} and "
            f"<= {MAX_PIXELS} pixels in all"
        )


def orientation(encoded: bytes) -> int:
    """EXIF orientation of a JPEG, 1 to 8; 1, as stored, for all that has none."""
    for marker, start, length in _jpeg_segments(encoded):
        data = encoded[start : start + length]
        if marker == _APP1 and data.startswith(b"Exif\0\0"):
            return _orientation_of(data[6:])
    return 1


def _orientation_of(tiff: bytes) -> int:
    order: Any = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return 1

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        place = directory + 2 + 12 * entry
        if number(place, 2) == _ORIENTATION:
            value = number(place + 8, 2)
            return value if value in range(1, 9) else 1
    return 1


def _decode(encoded: bytes, *, upright: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Decode to RGB; `upright`: obey EXIF orientation."""
    if encoded.startswith(_JPEG_START):
        pixels = _decode_jpeg(encoded)
        if pixels is not None and not (upright and orientation(encoded) != 1):
            return pixels
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it: {error.err}") from error
    if pixels is None:
        raise ValueError("got data that OpenCV cannot decode, expected a whole image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decode_jpeg(encoded: bytes) -> UInt8[np.ndarray, "H W 3"] | None:
    """The pixels as stored; None: of colours that OpenCV has to convert.

    Raises:
      ValueError: if the decoder warns of damage.
    """
    try:
        *_, colors, _ = simplejpeg.decode_jpeg_header(encoded)
        kind = "RGB" if colors in ("YCbCr", "Gray", "RGB") else "CMYK"
        try:
            pixels = simplejpeg.decode_jpeg(encoded, kind, strict=True)
        except ValueError as error:
            if not _is_harmless(str(error)):
                raise
            pixels = simplejpeg.decode_jpeg(encoded, kind, strict=False)
    except ValueError as error:
        raise ValueError(
            f"got a JPEG that is damaged inside ({error}), expected a whole one"
        ) from error
    return pixels if kind == "RGB" else None


def _is_harmless(warning: str) -> bool:
    """Some bytes of filling before a marker, or a header's field out of use."""
    if match := re.search(r"(\d+) extraneous bytes", warning):
        return int(match[1]) <= _FILLING
    return not re.search("premature|bad huffman|marker|corrupt", warning, re.IGNORECASE)


def _header_size(encoded: bytes) -> tuple[int, int]:
    """Width and height as the header states them; checks for the end of the file."""
    if encoded.startswith(_PNG_SIGNATURE):
        return _png_size(encoded)
    if encoded.startswith(_JPEG_START):
        return _jpeg_size(encoded)
    raise ValueError(f"got a file that starts {encoded[:8]!r}, expected JPEG or PNG")


def _png_size(encoded: bytes) -> tuple[int, int]:
    position = len(_PNG_SIGNATURE)
    while encoded[position + 4 : position + 8] != b"IEND":  # more may lie behind it
        if position >= len(encoded):
            raise ValueError("got a truncated PNG, expected an `IEND` chunk at its end")
        position += 12 + int.from_bytes(encoded[position : position + 4])
    return int.from_bytes(encoded[16:20]), int.from_bytes(encoded[20:24])


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    """Size by the header, up to the first scan."""
    size = (0, 0)
    for marker, start, _ in _jpeg_segments(encoded):
        if marker in _START_OF_FRAME:
            height = int.from_bytes(encoded[start + 1 : start + 3])
            size = int.from_bytes(encoded[start + 3 : start + 5]), height
        elif marker == _START_OF_SCAN:
            # Only now: a thumbnail in the header has an end marker of its own.
            if encoded.find(_JPEG_END, start) < 0:
                break
            return size
    raise ValueError("got a truncated or damaged JPEG, expected a whole file")


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of the content of the segments of the header."""
    position = len(_JPEG_START) if encoded.startswith(_JPEG_START) else len(encoded)
    while position + 9 <= len(encoded) and encoded[position] == 0xFF:
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(encoded[position + 2 : position + 4])
        yield marker, position + 4, length - 2
        position += 2 + length


MAX_COORDINATE = 1e5


def check_segmentation(segmentation: Any, shape: tuple[int, int]) -> None:
    """Check a parsed `segmentation` against the image's `(height, width)`.

    Raises:
      ValueError: if it is neither polygons nor run lengths that fill the image.
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
    else:
        _run_lengths(segmentation, shape)


def decode_segmentation(
    segmentation: Any, shape: tuple[int, int]
) -> Bool[np.ndarray, "H0 W0"]:
    """Render a parsed `segmentation` as a mask of the image's `(height, width)`.

    Raises:
      ValueError: as `check_segmentation`.
    """
    if isinstance(segmentation, list):
        _check_polygons(segmentation)
        polygons = pycocotools.mask.frPyObjects(segmentation, *shape)
        counts = pycocotools.mask.merge(polygons)["counts"].decode()
        segmentation = {"size": list(shape), "counts": counts}
    lengths = _run_lengths(segmentation, shape)
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(shape[::-1]).T


def _check_polygons(polygons: list[Any]) -> None:
    if not polygons:
        raise ValueError("got a segmentation without polygons, expected at least one")
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not all(type(number) in (int, float) for number in polygon)
            or not all(abs(number) <= MAX_COORDINATE for number in polygon)
        ):
            raise ValueError(
                "got a segmentation with a bad polygon, expected "
                f"[x, y, x, y, x, y, ...] with numbers up to {MAX_COORDINATE:g}"
            )


def _run_lengths(segmentation: Any, shape: tuple[int, int]) -> list[int]:
    """Lengths of the runs, the first of them of zeros."""
    keys = {"size", "counts"}
    if not isinstance(segmentation, dict) or not keys <= segmentation.keys():
        raise ValueError(
            "got a segmentation that is neither polygons nor run lengths with `size` "
            "and `counts`"
        )
    if segmentation["size"] != list(shape):
        raise ValueError(
            f"got a segmentation of size {segmentation['size']!r:.40}, expected the "
            f"image's [height, width] {list(shape)}"
        )
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts = _decompress(counts)
    whole = isinstance(counts, list) and all(
        type(count) is int and count >= 0 for count in counts
    )
    if not whole or sum(counts) != shape[0] * shape[1]:
        raise ValueError(
            "got a segmentation whose run lengths do not fill the image, expected "
            f"their sum to be {shape[0] * shape[1]}"
        )
    return counts


def _decompress(text: str) -> list[int]:
    """Undo COCO's text form of run lengths.

    Each character holds five bits, low ones first, and says whether more follow; the
    last one's top bit is the sign. From the fourth number on, differences to the
    number two places before are stored.
    """
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    return numbers
