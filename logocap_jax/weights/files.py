"""Weights on disk: state dicts in, variables in and out."""

import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from logocap_jax.atomic import replacing
from logocap_jax.checksums import verify_checksum
from logocap_jax.weights.containers import MAX_BYTES, errors_naming, read_arrays
from logocap_jax.weights.report import Report
from logocap_jax.weights.state_dict import (
    fit,
    state_dict_to_variables,
    variables_to_state_dict,
)
from logocap_jax.weights.torch_writer import write_zip
from logocap_jax.weights.trees import Variables, flatten, unflatten

Path = str | os.PathLike[str]

# Collections of our variables: the first folder of a path in our own files.
_COLLECTIONS = ("params/", "batch_stats/")
# Modules of a bare HRNet, as ImageNet checkpoints hold it.
_HRNET_MODULE = re.compile(r"(conv|bn|layer|transition|stage)[1-4]\.")


def read_state_dict(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict, without PyTorch and without running the file's code.

    Training checkpoints are unwrapped, `module.` (of data parallelism) is dropped, and
    the modules of a bare HRNet get their `backbone.`; its other modules (ImageNet
    classifier) keep their names.

    Args:
      path: a `torch.save` file (zip or from before PyTorch 1.6), `.npz` or
        `.safetensors`; the content decides.
      max_bytes: refuse files whose arrays need more.

    Returns:
      PyTorch's layouts under the reference's keys.

    Raises:
      ValueError: damaged, hostile, too large, or no state dict.
      OSError: cannot be opened.
    """
    arrays = read_arrays(path, max_bytes=max_bytes)
    if _is_ours(arrays):
        raise ValueError(f"{path}: holds variables, not a state dict: use load_weights")
    return _reference_keys(arrays, path)


def load_weights(
    path: Path,
    *,
    expected: Variables | None = None,
    partial: bool = False,
    raw: bool = False,
) -> dict[str, Any]:
    """Load variables from any weights; see `read_weights`, which also reports."""
    return read_weights(path, expected=expected, partial=partial, raw=raw)[0]


def read_weights(
    path: Path,
    *,
    expected: Variables | None = None,
    partial: bool = False,
    raw: bool = False,
) -> tuple[dict[str, Any], Report]:
    """Read variables and what became of each array.

    Args:
      path: any file that `read_state_dict` takes, or what `save_safetensors` or
        `save_variables` wrote.
      expected: the model's variables or their shapes, whose dtypes the result gets;
        by default a PyTorch file is checked against the sizes that it tells itself,
        and ours is taken as it is.
      partial: take what fits instead of refusing anything but a one-to-one fit.
      raw: as for `load_variables`.

    Raises:
      ValueError: unreadable, or no fit; see `state_dict_to_variables`.
      OSError: cannot be opened.
    """
    folder = os.path.isdir(path)
    arrays = flatten(load_variables(path, raw=raw)) if folder else read_arrays(path)
    if not _is_ours(arrays):
        state = _reference_keys(arrays, path)
        with errors_naming(path):
            variables, report = state_dict_to_variables(
                state, expected=expected, partial=partial
            )
        return _in_type_of(expected, variables), report
    target = arrays if expected is None else flatten(expected)
    shapes = {name: leaf.shape for name, leaf in target.items()}
    taken, report = fit(arrays, shapes, names={name: name for name in arrays})
    with errors_naming(path):
        if not partial:
            report.require_complete()
        return _in_type_of(expected, unflatten(taken)), report


def save_variables(path: Path, variables: Variables) -> None:
    """Write an Orbax checkpoint.

    Args:
      path: folder to make.
      variables: arrays of NumPy or JAX.

    Raises:
      ValueError: `path` exists.
    """
    from orbax.checkpoint import v1 as ocp  # starts JAX, which other formats need not

    path = pathlib.Path(path).absolute()
    if path.exists():
        raise ValueError(f"{path}: exists, expected a folder to make")
    ocp.save(path, variables)


def load_variables(path: Path, *, raw: bool = False) -> dict[str, Any]:
    """Read an Orbax checkpoint as NumPy arrays.

    Of a run that keeps a moving average of its variables the average is taken.

    Args:
      path: what `save_variables` wrote, or a run of `train.py`, of whose best
        checkpoint (or, without one, the last) the optimizer's state is left out.
      raw: take the variables themselves, even if there is an average of them.

    Raises:
      ValueError: no Orbax checkpoint, or a damaged one.
    """
    import jax  # other formats need not start it
    from orbax.checkpoint import v1 as ocp

    folder = checkpoint_folder(pathlib.Path(path).absolute())
    with errors_naming(folder):
        # As NumPy's arrays, so that the devices that wrote them need not be there.
        like = jax.tree.map(
            lambda leaf: np.empty(leaf.shape, leaf.dtype), ocp.metadata(folder).metadata
        )
        loaded = ocp.load(folder, like)
    average = None if raw else loaded.get("ema")
    prefix, tree = ("ema/", average) if average else ("", loaded)
    kept = {name: tree[name] for name in tree if _is_ours([f"{name}/"])}
    _check_digests(folder / "meta" / "metadata", prefix, flatten(kept))
    return kept


def checkpoint_folder(path: pathlib.Path) -> pathlib.Path:
    """The checkpoint to take of a run, the best or the last; any other path as is."""
    for kind in ("best", "last"):
        folder = path / "checkpoints" / kind
        steps = [p for p in folder.glob("*") if p.name.isdigit()]
        if steps:
            return max(steps, key=lambda step: int(step.name))
    return path


def _check_digests(
    digests: pathlib.Path, prefix: str, arrays: Mapping[str, np.ndarray]
) -> None:
    """Hold arrays against what training wrote beside them: Orbax does not."""
    if not digests.exists():
        return
    with errors_naming(digests):
        meta = json.loads(digests.read_bytes())
        verify_checksum(meta)
        leaves = meta["leaves"]
        for name, array in arrays.items():
            saved = leaves[f"{prefix}{name}"]["crc32"]
            if zlib.crc32(np.ascontiguousarray(array).data) != saved:
                raise ValueError(f"{name}: got other numbers than were saved")


def save_safetensors(path: Path, variables: Variables) -> None:
    """Write variables to one `.safetensors` file, named by their paths."""
    arrays = {
        name: np.asarray(leaf, order="C") for name, leaf in flatten(variables).items()
    }
    with replacing(path) as temporary:
        save_file(arrays, temporary)


def save_torch(path: Path, variables: Variables) -> None:
    """Write variables as a state dict that `torch.load` and the reference read.

    Raises:
      ValueError: a path that the PyTorch model has no key for.
    """
    state = variables_to_state_dict(variables)
    with replacing(path) as temporary:
        write_zip(temporary, state)


def _in_type_of(expected: Variables | None, variables: Variables) -> dict[str, Any]:
    flat = flatten(variables)
    types = {} if expected is None else flatten(expected)
    return unflatten(
        {
            name: leaf.astype(types[name].dtype) if name in types else leaf
            for name, leaf in flat.items()
        }
    )


def _is_ours(arrays: Iterable[str]) -> bool:
    return any(name.startswith(_COLLECTIONS) for name in arrays)


def _reference_keys(
    arrays: Mapping[str, np.ndarray], path: Path
) -> dict[str, np.ndarray]:
    state = {}
    for name, array in arrays.items():
        key = name.removeprefix("module.")
        if _HRNET_MODULE.match(key):
            key = f"backbone.{key}"
        if key in state:
            raise ValueError(f"{path}: two arrays for {key!r}")
        state[key] = array
    return state
