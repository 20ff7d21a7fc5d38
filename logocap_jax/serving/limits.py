"""What the page takes."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipeline.read.images import decode_photograph, encoded_size

MAX_UPLOAD_BYTES = 20 * 2**20
MAX_PIXELS = 24_000_000

STATED = (
    f"JPEG or PNG, up to {MAX_UPLOAD_BYTES // 2**20} MiB and "
    f"{MAX_PIXELS // 1_000_000} megapixels"
)


def read_upload(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an uploaded photograph to RGB, up is up; its size is checked before.

    Raises:
      ValueError: if it is too large, neither JPEG nor PNG, or damaged.
    """
    size = path.stat().st_size
    if size > MAX_UPLOAD_BYTES:
        raise ValueError(f"got {size} bytes, expected {STATED}")
    encoded = path.read_bytes()
    width, height = encoded_size(encoded)
    if width * height > MAX_PIXELS:
        raise ValueError(f"got {width}x{height} pixels, expected {STATED}")
    return decode_photograph(encoded)
