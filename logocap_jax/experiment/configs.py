"""Configs by name or file, and the overrides of a command line."""

import ast
import difflib
import inspect
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from logocap_jax.experiment.settings import change_method

_PACKAGE = Path(__file__).resolve().parents[1]
_TRUTH = {"true": True, "false": False}


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Load a config, a new one each time, and change values in it.

    `method.name=NAME` counts first: it gives the config another method, see
    `change_method`.

    Args:
      name: `NAME` of a config that comes with the package, or a Python file with
        `get_config()`; behind a colon its argument, if it takes one.
      overrides: `KEY=VALUE` with a key such as `method.dtype`.

    Raises:
      ValueError: if there is no such config or key, or a value is of another type.
    """
    file, _, argument = str(name).partition(":")
    path = _find(file)
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read as Python: {error}") from error
    if get_config is None:
        raise ValueError(f"{path}: has no get_config(); see configs/")
    arguments = [argument] if argument else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"got --config={name}, but {path}: {error}") from error
    config = get_config(*arguments)
    _override(config, overrides)
    return config


def _find(name: str) -> Path:
    """The file of a config."""
    inside = _PACKAGE / "configs"  # of a wheel; beside the package in a checkout
    folder = inside if inside.is_dir() else _PACKAGE.parent / "configs"
    if name.isidentifier() and (folder / f"{name}.py").is_file():
        return folder / f"{name}.py"
    if Path(name).is_file():
        return Path(name)
    known = sorted(path.stem for path in folder.glob("[!_]*.py"))
    raise ValueError(
        f"got --config={name}, expected a file, or one of {', '.join(known)}"
    )


def _override(config: ConfigDict, overrides: Sequence[str]) -> None:
    pairs = [text.partition("=") for text in overrides]
    for key, equals, text in pairs:
        if not equals:
            raise ValueError(f"got --config.{key}, expected --config.{key}=VALUE")
        if key == "method.name":
            change_method(config, text)
    for key, _, text in pairs:
        if key == "method.name":
            continue
        *groups, last = _check_key(config, key)
        section = config
        for group in groups:
            section = section[group]
        section[last] = _parse(key, text, section[last])


def _check_key(config: ConfigDict, key: str) -> list[str]:
    """Check that a config has a key; its parts."""
    value, path = config, "config"
    for part in key.split("."):
        if not isinstance(value, ConfigDict) or part not in value:
            known = sorted(value) if isinstance(value, ConfigDict) else "nothing"
            near = difflib.get_close_matches(part, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"got --config.{key}, but {path} has no {part!r}; it has {known}{hint}"
            )
        value, path = value[part], f"{path}.{part}"
    if isinstance(value, ConfigDict):
        raise ValueError(
            f"got --config.{key}=, a section, expected a setting in it: {sorted(value)}"
        )
    return key.split(".")


def _parse(key: str, text: str, old: Any) -> Any:
    """A value of a command line, of the type of the old one."""
    value = parse_literal(text)
    if isinstance(old, str):
        return value if isinstance(value, str) else text
    if value is None and key.startswith("method."):
        return None  # turns a part of a method off
    try:
        return _convert(value, old)
    except TypeError as error:
        kind = type(old).__name__
        raise ValueError(
            f"got --config.{key}={text}, expected one like {old!r} ({kind})"
        ) from error


def parse_literal(text: str) -> Any:
    """A Python literal (`true` and `false`, too); any other text as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _TRUTH.get(text, text)


def _convert(value: Any, old: Any) -> Any:
    """Convert a literal to the type of another value, or raise `TypeError`."""
    if old is None or type(value) is type(old) is not tuple:
        return value
    if type(old) is float and type(value) is int:
        return float(value)
    if type(old) is bool and value in (0, 1):
        return bool(value)
    if type(old) is tuple:
        values = value if isinstance(value, (tuple, list)) else [value]
        like = old[0] if old else None
        return tuple(_convert(each, like) for each in values)
    raise TypeError
