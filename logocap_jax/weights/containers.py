"""Read the arrays of a weights file of any kind, told apart by content."""

import contextlib
import io
import math
import os
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from safetensors import SafetensorError, safe_open

from logocap_jax.weights import torch_files

MAX_BYTES = 4 << 30


def read_arrays(
    path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """Read a file of named arrays; nothing in it is ever run.

    Args:
      path: `.pth` or `.pth.tar` of `torch.save` (either format; a training
        checkpoint's state dict), `.npz` or `.safetensors`; the content decides.
      max_bytes: refuse files whose arrays need more.

    Raises:
      ValueError: damaged, hostile, too large, or of no known kind.
      OSError: cannot be opened.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a regular file")
    with path.open("rb") as stream, errors_naming(path):
        arrays = _read(path, stream, max_bytes)
        for name in arrays:
            if not name.isprintable():  # it will be printed
                raise ValueError(f"array name {name[:80]!r} has control characters")
        return arrays


def _read(
    path: pathlib.Path, stream: io.BufferedReader, max_bytes: int
) -> dict[str, np.ndarray]:
    start = stream.read(16)
    stream.seek(0)
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(stream) as archive:
            if all(name.endswith(".npy") for name in archive.namelist()):
                return _read_npz(archive, max_bytes)
            return torch_files.read_zip(archive, max_bytes=max_bytes)
    if start[8:9] == b"{":
        return _read_safetensors(path, max_bytes)
    if start.startswith(b"\x80"):
        return torch_files.read_legacy(stream, max_bytes=max_bytes)
    raise ValueError("neither a torch.save file nor .npz nor .safetensors")


@contextlib.contextmanager
def errors_naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every way in which a damaged file shows into one line with its name."""
    try:
        yield
    except (
        EOFError,
        OSError,  # a seek to before the start
        OverflowError,
        RuntimeError,  # how zipfile refuses encrypted members
        SafetensorError,
        SyntaxError,  # NumPy reads the header of an array as Python
        ValueError,
        struct.error,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: {reason}") from error


def _read_safetensors(path: pathlib.Path, max_bytes: int) -> dict[str, np.ndarray]:
    _check_total(path.stat().st_size, max_bytes)
    with safe_open(path, framework="numpy") as tensors:
        return {name: tensors.get_tensor(name) for name in list(tensors.keys())}


def _read_npz(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, np.ndarray]:
    _check_total(sum(info.file_size for info in archive.infolist()), max_bytes)
    return {
        info.filename.removesuffix(".npy"): _read_npy(archive, info)
        for info in archive.infolist()
    }


def _read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array; unlike `np.load`, believe no size that the header claims."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename}: expected NumPy's own compression, or none")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(
                f"{info.filename}: got npy version {version}, expected 1.0"
            )
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        data = member.read()
    if dtype.kind not in "fiub" or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(
            f"{info.filename}: {len(data)} bytes of {dtype}, expected numbers of shape "
            f"{shape}"
        )
    flat = np.frombuffer(data, dtype)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.copy(order="C")


def _check_total(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise ValueError(f"{num_bytes} bytes, expected at most {max_bytes}")
