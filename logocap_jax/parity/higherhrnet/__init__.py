"""Parity of HigherHRNet with associative embedding, and its detector's maps.

Arrays are those of `../shared/siblings/centergroup/README.md`; the detector is all of
the weights beside a case, or its part of CenterGroup's.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp

from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.parity.cases import array_names
from logocap_jax.parity.compare import StageResult
from logocap_jax.parity.higherhrnet.grouping import check_drawn, check_grouping
from logocap_jax.parity.higherhrnet.maps import check_maps
from logocap_jax.parity.higherhrnet.training import check_training
from logocap_jax.parity.walk import check_stages
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import read_file, to_variables
from logocap_jax.weights.settings import read_settings

Check = Callable[[pathlib.Path], list[StageResult]]
_PART = "bu_model."
# An array that only cases of a kind have, and their check.
_KINDS = {
    "n_assign": check_grouping,
    "tag_index_4": check_training,
}
_MAPS = "deconv_features"


def holds_tags(names: Set[str]) -> bool:
    """True for the arrays of a case of associative embedding."""
    return bool(names & {"people_0", *_KINDS})


def check_tags(
    path: pathlib.Path, *, dtype: str = "float32", marks: bool = True
) -> list[StageResult]:
    """Compare a case of associative embedding, with the detector beside it.

    Raises:
      ValueError: a damaged file, or arrays or weights that are missing or do not fit.
    """
    names = array_names(path)
    if "people_0" in names:
        return check_drawn(path, marks=marks)
    config, variables = read_detector(path.parent)
    config = build_config("higherhrnet", {**config, "dtype": dtype})
    return _kind(names)(path, config, variables, marks=marks)


def _kind(names: Set[str]) -> Callable[..., list[StageResult]]:
    return next(check for name, check in _KINDS.items() if name in names)


@functools.lru_cache(maxsize=1)
def read_detector(folder: pathlib.Path) -> tuple[dict[str, Any], Variables]:
    """Settings and variables of the detector whose weights a folder holds.

    Raises:
      ValueError: no weights, or no detector in them.
    """
    files = sorted(folder.glob("weights.*"))
    if not files:
        raise ValueError(f"{folder}: cases without weights.*")
    arrays = read_file(files[0])
    part = {key: x for key, x in arrays.items() if _PART in key}
    with errors_naming(files[0]):
        tree, _ = to_variables(part or arrays, method="higherhrnet")
        settings = read_settings(tree)
    del settings["name"]
    return settings, jax.tree.map(jnp.asarray, tree)


def make_check(
    settings: Mapping[str, Any], variables: Variables, *, marks: bool = True
) -> Check:
    """The check of a model's cases; of any others the named stages are walked.

    `marks`: hold errors against tolerances.
    """
    config: HigherHRNetConfig = build_config("higherhrnet", settings)

    def check(path: pathlib.Path) -> list[StageResult]:
        with errors_naming(path):
            names = array_names(path)
        if _MAPS in names:
            return check_maps(path, config, variables, marks=marks)
        stages = make_stages(config)
        return check_stages(path, "higherhrnet", stages, variables, marks=marks)

    return check
