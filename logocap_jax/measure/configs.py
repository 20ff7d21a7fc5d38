"""Config files, as `train.py` reads them, with changes from a command line."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict


def load_config(path: Path, changes: Mapping[str, Any]) -> ConfigDict:
    """Read a config file and change values in it.

    Args:
      path: a Python file with `get_config()`.
      changes: values by key, such as `method.dtype`.

    Raises:
      ValueError: if there is no such file or key, or a value is of another type.
    """
    if not path.is_file():
        raise ValueError(f"got --config {path}, expected a file; see configs/")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read as Python: {error}") from error
    if get_config is None:
        raise ValueError(f"{path}: has no get_config(); see configs/")
    config = get_config()
    for key, value in changes.items():
        _change(config, key, value)
    return config


def _change(config: ConfigDict, key: str, value: Any) -> None:
    group = config
    *groups, last = key.split(".")
    for name in (*groups, last):
        if not isinstance(group, ConfigDict) or name not in group:
            known = sorted(group) if isinstance(group, ConfigDict) else "nothing"
            raise ValueError(f"--set {key}: there is no {name!r}, but {known}")
        parent, group = group, group[name]
    try:
        parent[last] = value
    except TypeError as error:
        raise ValueError(f"--set {key}={value!r}: {error}") from error
