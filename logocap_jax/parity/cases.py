"""The cases of a folder, and the weights beside them."""

import json
import pathlib
import zlib
from typing import Any

import numpy as np

from logocap_jax.methods import METHODS, find_format
from logocap_jax.parity.layout import Arrays
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import load_weights, to_variables

_MANIFEST = "state_dict_manifest.json"
_STATISTICS = "bn_stats.npz"


def find_cases(folder: pathlib.Path) -> dict[pathlib.Path, list[pathlib.Path]]:
    """The cases of a folder, of the folders in it, and of those in them.

    Args:
      folder: holds cases, `*.npz`, beside their weights, or folders that do; folders
        without cases are passed over.

    Returns:
      For each folder its cases, in alphabetical order.

    Raises:
      ValueError: no such folder, or no case in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    inner = (path for depth in ("*", "*/*") for path in folder.glob(depth))
    folders = (folder, *sorted(path for path in inner if path.is_dir()))
    found = {path: _cases_in(path) for path in folders}
    found = {path: cases for path, cases in found.items() if cases}
    if not found:
        raise ValueError(
            f"{folder}: no case in it or two levels below; expected *.npz beside "
            f"weights.* or {_MANIFEST}"
        )
    return found


def _cases_in(folder: pathlib.Path) -> list[pathlib.Path]:
    others = {"weights", *_file_names()}
    return [
        path
        for path in sorted(folder.glob("*.npz"))
        if path.stem not in others and path.name != _STATISTICS
    ]


def _file_names() -> set[str]:
    """Names of the parts of models that have weights in files of their own."""
    return {name for method in METHODS for name in find_format(method).files}


def case_name(path: pathlib.Path) -> str:
    """Folder and file name, for tables."""
    return f"{path.parent.name}/{path.stem}"


def array_names(path: pathlib.Path) -> set[str]:
    """Names of a case's arrays, which are not read.

    Raises:
      ValueError: a damaged file; callers name it.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return set(file.files)


def read_arrays(path: pathlib.Path) -> Arrays:
    """Read a case's arrays unchanged.

    Raises:
      ValueError: a damaged file; callers name it.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return dict(file)


def read_weights(folder: pathlib.Path) -> dict[str, Any]:
    """The variables that the folder's cases were computed with.

    Args:
      folder: holds `weights.*` (any file that `logocap convert` reads), and beside it
        parts in files of their own, such as `scorer.npz`; or a manifest and
        `bn_stats.npz`, from which weights are made by rule.

    Raises:
      ValueError: neither is there, or it does not fit.
    """
    files = sorted(folder.glob("weights.*"))
    if files:
        parts = {name: sorted(folder.glob(f"{name}.*")) for name in _file_names()}
        further = {name: paths[0] for name, paths in parts.items() if paths}
        return load_weights(files[0], files=further)
    manifest = folder / _MANIFEST
    if not manifest.exists():
        raise ValueError(f"{folder}: cases without weights.* or {_MANIFEST}")
    with errors_naming(manifest):
        state = weights_by_rule(folder)
        return to_variables(state)[0]


def weights_by_rule(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Make a state dict from the names and shapes of its arrays.

    Each array is drawn from a generator seeded with its key's CRC-32: kernels with
    variance `2 / fan_in`, scales around 1 and biases around 0 with deviation 0.1.
    Only batch statistics, which depend on images, are read from a file.

    Args:
      folder: holds the manifest and `bn_stats.npz`.

    Raises:
      ValueError: a statistic is missing.
    """
    manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    with np.load(folder / _STATISTICS, allow_pickle=False) as file:
        statistics = dict(file)
    state = {}
    for key, shape, _ in manifest:
        leaf = key.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            continue
        if leaf in ("running_mean", "running_var"):
            if key not in statistics:
                raise ValueError(f"{_STATISTICS} lacks {key!r}")
            state[key] = statistics[key]
        else:
            state[key] = _draw(key, shape)
    return state


def _draw(key: str, shape: list[int]) -> np.ndarray:
    values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if len(shape) == 4:
        values *= np.sqrt(2 / np.prod(shape[1:]))
    elif key.endswith(("weight_", "weight")):
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return values.astype(np.float32)
