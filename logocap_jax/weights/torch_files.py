"""Read and write the files of `torch.save`, without PyTorch.

Two containers: a zip archive with a pickle and one member per storage (since PyTorch
1.6), and before that one stream of pickles followed by the storages. In both a pickle
describes tensors as views of storages, which are then read one at a time.
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from logocap_jax.weights.torch_pickle import (
    DTYPES,
    Foreign,
    PickleReader,
    Storage,
    TensorView,
)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_PICKLE_BYTES = 64 << 20
# Where training checkpoints keep the state dict.
_WRAPPERS = ("state_dict", "model_state_dict", "model")

# `torch.save` calls a file's top folder so when it writes to a stream.
_FOLDER = "archive"
_STORAGES = {np.dtype(code): f"{name}Storage" for name, code in DTYPES.items()}
_ORDERED_DICT = b"ccollections\nOrderedDict\n)R"

_ReadStorage = Callable[[Storage], bytes]


def read_zip(archive: zipfile.ZipFile, *, max_bytes: int) -> dict[str, np.ndarray]:
    """Read the state dict of a zip archive; `max_bytes` limits its tensors.

    Raises:
      ValueError: damaged, hostile, or no state dict.
    """
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"got {len(pickles)} members data.pkl, expected one")
    folder = pickles[0].removesuffix("data.pkl")
    byte_order = f"{folder}byteorder"
    if byte_order in names and _read_member(archive, byte_order) != b"little":
        raise ValueError("not little-endian; save it again on a little-endian machine")
    root = PickleReader(io.BytesIO(_read_member(archive, pickles[0]))).read()

    def read_storage(storage: Storage) -> bytes:
        name = f"{folder}data/{storage.key}"
        return _read_member(archive, name, num_bytes=storage.num_bytes)

    return _read_tensors(_state_dict_of(root), read_storage, max_bytes)


def read_legacy(stream: io.BufferedIOBase, *, max_bytes: int) -> dict[str, np.ndarray]:
    """Read the state dict of a file from before PyTorch 1.6, from its start.

    `max_bytes` limits its tensors.

    Raises:
      ValueError: damaged, hostile, or no state dict.
    """
    head = io.BytesIO(stream.read(_MAX_PICKLE_BYTES))
    reader = PickleReader(head)
    if reader.read() != _LEGACY_MAGIC or reader.read() != _LEGACY_PROTOCOL:
        raise ValueError("a pickle, but not one that torch.save wrote")
    system = reader.read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("not little-endian; save it again on a little-endian machine")
    root, keys = reader.read(), reader.read()
    if not isinstance(keys, list):
        raise ValueError("damaged: the list of storages is absent")
    starts = _legacy_starts(stream, head.tell(), keys, reader.storages)

    def read_storage(storage: Storage) -> bytes:
        if storage.key not in starts:
            raise ValueError(f"storage {storage.key[:80]!r} is absent")
        stream.seek(starts[storage.key])
        return stream.read(storage.num_bytes)

    return _read_tensors(_state_dict_of(root), read_storage, max_bytes)


def _read_member(
    archive: zipfile.ZipFile, name: str, num_bytes: int | None = None
) -> bytes:
    """Bytes of a member, of exactly `num_bytes` or else below the pickle's limit."""
    if name not in archive.NameToInfo:
        raise ValueError(f"member {name[:80]!r} is absent")
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(
            f"member {name[:80]!r} is compressed or encrypted, expected stored"
        )
    if num_bytes is None and info.file_size > _MAX_PICKLE_BYTES:
        raise ValueError(
            f"member {name[:80]!r} has {info.file_size} bytes, expected at most "
            f"{_MAX_PICKLE_BYTES}"
        )
    if num_bytes is not None and info.file_size != num_bytes:
        raise ValueError(
            f"member {name[:80]!r} has {info.file_size} bytes, expected {num_bytes}"
        )
    return archive.read(info)


def _legacy_starts(
    stream: io.BufferedIOBase,
    start: int,
    keys: Iterable[Any],
    storages: Mapping[str, Storage],
) -> dict[str, int]:
    """Where each storage's elements begin; before them stands their number."""
    end = stream.seek(0, os.SEEK_END)
    starts = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise ValueError("damaged: a storage of no known tensor or dtype")
        stream.seek(start)
        numel = int.from_bytes(stream.read(8), "little", signed=True)
        if numel != storages[key].numel:
            raise ValueError(
                f"storage {key[:80]!r} has {numel} elements, expected "
                f"{storages[key].numel}"
            )
        starts[key] = start + 8
        start += 8 + storages[key].num_bytes
        if start > end:
            raise ValueError(f"truncated: got {end} bytes, expected {start} or more")
    return starts


def _state_dict_of(root: Any) -> dict[str, TensorView]:
    """The state dict itself, without what a training checkpoint wraps around it."""
    if not isinstance(root, dict):
        raise ValueError(f"holds {_kind(root)}, expected a state dict; nothing was run")
    wrapped = (root.get(name) for name in _WRAPPERS)
    state = next((value for value in wrapped if isinstance(value, dict)), root)
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, TensorView)):
            raise ValueError(
                f"entry {str(key)[:80]!r} is {_kind(value)}, expected a plain "
                f"tensor, or a state dict under one of {', '.join(_WRAPPERS)}; "
                "nothing was run"
            )
        if value.storage.dtype.names:
            raise ValueError(
                f"entry {key[:80]!r} is a tensor of {value.storage.dtype.names[0]}, "
                f"expected one of {', '.join(DTYPES)}"
            )
    return state


def _kind(value: Any) -> str:
    if isinstance(value, Foreign):
        return repr(value.name)
    return f"a {type(value).__name__}"


def _read_tensors(
    views: Mapping[str, TensorView], read_storage: _ReadStorage, max_bytes: int
) -> dict[str, np.ndarray]:
    """Read each storage once, and copy its tensors out of it."""
    keys_of: dict[Storage, list[str]] = {}
    for key, view in views.items():
        keys_of.setdefault(view.storage, []).append(key)
    for kind, parts in (("tensors", views.values()), ("storages", keys_of)):
        if (total := sum(part.num_bytes for part in parts)) > max_bytes:
            raise ValueError(f"{kind} of {total} bytes, expected at most {max_bytes}")
    arrays: dict[str, np.ndarray] = {}
    for storage, keys in keys_of.items():
        data = read_storage(storage)
        if len(data) != storage.num_bytes:  # an archive whose lists disagree
            raise ValueError(
                f"storage {storage.key[:80]!r} has {len(data)} bytes, expected "
                f"{storage.num_bytes}"
            )
        arrays.update((key, _copy_out(views[key], data)) for key in keys)
    return {key: arrays[key] for key in views}


def _copy_out(view: TensorView, data: bytes) -> np.ndarray:
    dtype = view.storage.dtype
    strides = [step * dtype.itemsize for step in view.stride]
    offset = view.offset * dtype.itemsize
    if not math.prod(view.size):
        return np.empty(view.size, dtype)
    return np.ndarray(view.size, dtype, data, offset, strides).copy(order="C")


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
