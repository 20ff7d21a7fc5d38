"""Weights to hand on: one safetensors file that says what they are.

Settings, skeleton, AP and licence are JSON in the file's own metadata.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from logocap_jax.atomic import replacing
from logocap_jax.checksums import verify_checksum, with_checksum
from logocap_jax.weights.containers import errors_naming

_KEY = "logocap_jax"
_SUM = "arrays_sha256"


def write_packed(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Write arrays by our paths, and what `packed_about` gives back."""
    content = with_checksum({**about, _SUM: _sum_of(arrays)})
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(path) as temporary:
        save_file(ordered, temporary, metadata={_KEY: json.dumps(content)})


def packed_about(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a file says of its weights; None: any other file.

    Raises:
      ValueError: if it is damaged.
    """
    if not _is_safetensors(pathlib.Path(path)):
        return None
    with errors_naming(path):
        with safe_open(path, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(_KEY)
        if text is None:
            return None
        content: dict[str, Any] = json.loads(text)
        verify_checksum(content)
        return content


def verify_packed(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]
) -> None:
    """Hold the arrays of a file against the sum in it, if there is one.

    Raises:
      ValueError: if they are not those that were packed.
    """
    about = packed_about(path)
    if about is not None and about[_SUM] != _sum_of(arrays):
        raise ValueError(f"{path}: got other numbers than were packed; copy it again")


def _is_safetensors(path: pathlib.Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(9)[8:] == b"{"


def _sum_of(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
