"""Cases of a folder: which there are, their arrays, their weights."""

import dataclasses
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from logocap_jax.methods import build_config
from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.parity import layout
from logocap_jax.skeletons import COCO
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import load_weights, to_variables
from logocap_jax.weights.settings import read_settings

_MANIFEST = "state_dict_manifest.json"
# Endings of a case's name, and the result set whose poses such a case holds.
_RESULTS = {"_initial_only": "initial", "_local_only": "local"}
_NO_FLIP = "_no_flip"


@dataclasses.dataclass(frozen=True)
class Case:
    """One file of reference arrays.

    Attributes:
      name: folder and file name, for people.
      path: the file.
      training: it holds a training step, else one image's inference.
      flip_test: the reference averaged with the mirror image.
      result: whose poses it holds: `logocap`, or of an ablation `initial`, `local`.
    """

    name: str
    path: pathlib.Path
    training: bool
    flip_test: bool = True
    result: str = "logocap"


def find_cases(folder: pathlib.Path) -> dict[pathlib.Path, list[Case]]:
    """The cases of a folder, or of the folders in it.

    Args:
      folder: holds `infer_*.npz` and `train_step_*.npz` beside their weights, or
        folders that do; folders without cases are passed over.

    Returns:
      For each folder its cases, in alphabetical order.

    Raises:
      ValueError: no such folder, or no case in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    found = {path: list(_cases_in(path)) for path in (folder, *inner)}
    found = {path: cases for path, cases in found.items() if cases}
    if not found:
        raise ValueError(
            f"{folder}: no infer_*.npz or train_step_*.npz in it or one level below"
        )
    return found


def _cases_in(folder: pathlib.Path) -> Iterator[Case]:
    for path in sorted(folder.glob("infer_*.npz")):
        result = next(
            (name for end, name in _RESULTS.items() if path.stem.endswith(end)),
            "logocap",
        )
        flip_test = not path.stem.endswith(_NO_FLIP)
        yield Case(f"{folder.name}/{path.stem}", path, False, flip_test, result)
    for path in sorted(folder.glob("train_step_*.npz")):
        yield Case(f"{folder.name}/{path.stem}", path, True)


def read_case(case: Case, config: LogoCapConfig) -> layout.Arrays:
    """Read a case's arrays, checked and in this project's layout.

    Raises:
      ValueError: damaged file, or arrays that are missing or do not fit.
    """
    kinds, slots = config.skeleton.num_keypoints, config.num_slots
    sizes = {"K": kinds, "K1": kinds + 1, "K2": 2 * kinds, "N": slots}
    sizes |= {"E": config.mesh_size, "G": 2 * config.window_radius + 1}
    with errors_naming(case.path):
        with (
            case.path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as file,
        ):
            arrays = dict(file)
        if case.training:
            converted = layout.to_ours(arrays, layout.TRAINING, sizes)
            for i in range(len(converted["input"])):
                people = {f"{name}{i}": e for name, e in layout.PER_IMAGE.items()}
                layout.to_ours(arrays, people, sizes)
            return converted
        sizes["R"] = 2 if case.flip_test else 1
        converted = layout.to_ours(arrays, layout.INFERENCE, sizes)
        if arrays["image"].dtype != np.uint8:
            raise ValueError(f"'image': got {arrays['image'].dtype}, expected uint8")
        for name in ("centers", "poses", "final_keypoints"):
            if len(converted[name]) > slots:
                raise ValueError(
                    f"{name!r}: got {len(converted[name])} rows, expected at most "
                    f"{slots}"
                )
        return converted


def read_weights(folder: pathlib.Path) -> dict[str, Any]:
    """The variables that the folder's cases were computed with.

    Args:
      folder: holds `weights.*` (any file that `logocap convert` reads), or a manifest
        and `bn_stats.npz`, from which weights are made by rule.

    Raises:
      ValueError: neither is there, or it does not fit.
    """
    files = sorted(folder.glob("weights.*"))
    if files:
        return load_weights(files[0])
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
    with np.load(folder / "bn_stats.npz", allow_pickle=False) as file:
        statistics = dict(file)
    state = {}
    for key, shape, _ in manifest:
        leaf = key.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            continue
        if leaf in ("running_mean", "running_var"):
            if key not in statistics:
                raise ValueError(f"bn_stats.npz lacks {key!r}")
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


def read_config(variables: dict[str, Any], *, dtype: str = "float32") -> LogoCapConfig:
    """Settings of the model that has these variables.

    All slots may take part in training, as in the reference.

    Raises:
      ValueError: a part of LOGO-CAP is absent, or the skeleton is not COCO's.
    """
    settings = read_settings(variables, COCO)
    if settings.pop("name") != "logocap":
        raise ValueError("weights lack the model of LOGO-CAP beyond initial poses")
    budget = LogoCapConfig.num_slots
    return build_config(
        "logocap", settings | {"instance_budget": budget, "dtype": dtype}
    )
