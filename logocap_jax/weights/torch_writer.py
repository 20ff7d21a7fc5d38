"""Write state dicts that `torch.load` reads, without PyTorch."""

import os
import struct
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

# `torch.save` calls a file's top folder so when it writes to a stream.
_FOLDER = "archive"
_STORAGES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def write_zip(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write a state dict in the zip format of PyTorch 1.6 and later.

    The same state dict gives the same bytes.

    Raises:
      ValueError: an array's dtype is none of PyTorch's.
    """
    arrays = {key: np.asarray(array, order="C") for key, array in state.items()}
    for key, array in arrays.items():
        if array.dtype not in _STORAGES:
            raise ValueError(
                f"{key}: got dtype {array.dtype}, expected one of "
                f"{', '.join(str(dtype) for dtype in _STORAGES)}"
            )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, "data.pkl", _pickle(arrays))
        _write_member(archive, "byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            _write_member(archive, f"data/{i}", array.tobytes())
        _write_member(archive, "version", b"3\n")


def _write_member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Write with a fixed date, so that equal weights give equal files."""
    archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}"), data)


def _pickle(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ordered dict of `torch._utils._rebuild_tensor_v2` calls, protocol 2."""
    items = b"".join(
        _text(key) + _tensor(array, i) for i, (key, array) in enumerate(arrays.items())
    )
    return b"\x80\x02" + _ORDERED_DICT + b"(" + items + b"u."


def _tensor(array: np.ndarray, storage: int) -> bytes:
    kind = _STORAGES[array.dtype].encode()
    persistent_id = (
        b"("
        + _text("storage")
        + b"ctorch\n"
        + kind
        + b"\n"
        + _text(str(storage))
        + _text("cpu")
        + _integer(array.size)
        + b"tQ"
    )
    strides = (step // array.itemsize for step in array.strides)
    arguments = (
        persistent_id
        + _integer(0)  # offset
        + _tuple(array.shape)
        + _tuple(strides)
        + b"\x89"  # requires_grad=False
        + _ORDERED_DICT  # backward_hooks
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
