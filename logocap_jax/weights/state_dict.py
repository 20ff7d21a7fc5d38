"""PyTorch state dict <-> variables, both in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from logocap_jax.weights.architecture import read_architecture
from logocap_jax.weights.report import Report
from logocap_jax.weights.shapes import Shape, expected_shapes
from logocap_jax.weights.torch_keys import find_path, find_torch_key
from logocap_jax.weights.trees import Variables, flatten, unflatten

# Counts training steps; PyTorch reads it only for norms without momentum.
_STEP_COUNTER = "num_batches_tracked"


def state_dict_to_variables(
    state: Mapping[str, np.ndarray],
    *,
    expected: Variables | None = None,
    partial: bool = False,
) -> tuple[dict[str, Any], Report]:
    """Bring a PyTorch state dict into our tree and layout.

    Convolution kernels turn from OIHW to HWIO; values and dtypes stay as they are.
    `num_batches_tracked` is passed over.

    Args:
      state: as `read_state_dict` returns it.
      expected: the model's variables, or anything with their tree whose leaves have
        a shape; by default a LOGO-CAP of the sizes that the state dict itself tells.
      partial: take what fits; the variables then hold only that.

    Returns:
      The variables and what became of each array.

    Raises:
      ValueError: an array is unused, missing or of the wrong shape, unless `partial`;
        without `expected` also where `read_architecture` fails.
    """
    arrays, keys, unknown = {}, {}, []
    for key, array in state.items():
        if key.endswith(_STEP_COUNTER):
            continue
        if entry := find_torch_key(key):
            arrays[entry.path] = entry.layout.to_ours(array)
            keys[entry.path] = key
        else:
            unknown.append(key)
    shapes, absent = _expectation(arrays, expected)
    taken, report = fit(arrays, shapes, names=keys)
    report.unused.extend(unknown)
    report.missing.extend(absent)
    if not partial:
        report.require_complete()
    # C order: safetensors writes memory as it lies, whatever the strides.
    contiguous = {path: np.asarray(leaf, order="C") for path, leaf in taken.items()}
    return unflatten(contiguous), report


def variables_to_state_dict(variables: Variables) -> dict[str, np.ndarray]:
    """Undo `state_dict_to_variables`, bit for bit.

    Each norm gets a `num_batches_tracked` of 0, which PyTorch expects and never uses.

    Raises:
      ValueError: a path that the PyTorch model has no key for.
    """
    state = {}
    for path, leaf in sorted(flatten(variables).items()):
        entry = find_path(path)
        if entry is None:
            raise ValueError(f"{path}: the PyTorch model has no such array")
        array = entry.layout.to_torch(np.asarray(leaf))
        state[entry.torch_key] = np.asarray(array, order="C")
        module, _, leaf_name = entry.torch_key.rpartition(".")
        if leaf_name == "running_var":
            state[f"{module}.{_STEP_COUNTER}"] = np.zeros((), np.int64)
    return state


def fit(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    *,
    names: Mapping[str, str],
) -> tuple[dict[str, np.ndarray], Report]:
    """Split arrays into those that the model takes and the rest.

    Args:
      arrays: by path.
      shapes: what the model has, by path.
      names: name in the file of each array, by path.

    Returns:
      The arrays that fit, and the report.
    """
    taken, report = {}, Report([], [], [], [])
    for path, array in arrays.items():
        if path not in shapes:
            report.unused.append(names[path])
        elif array.shape != shapes[path]:
            report.wrong_shape.append(
                f"{path}: got {array.shape}, expected {shapes[path]}"
            )
        else:
            taken[path] = array
            report.used.append(names[path])
    report.missing.extend(path for path in shapes if path not in arrays)
    return taken, report


def _expectation(
    arrays: Mapping[str, np.ndarray], expected: Variables | None
) -> tuple[dict[str, Shape], list[str]]:
    """Shapes by path, and paths of whole parts that are absent."""
    if expected is not None:
        return {path: leaf.shape for path, leaf in flatten(expected).items()}, []
    architecture = read_architecture(unflatten(arrays))
    return expected_shapes(architecture), architecture.absent_parts()
