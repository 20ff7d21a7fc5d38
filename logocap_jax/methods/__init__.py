"""The methods: name and settings -> `Method`. Imports neither JAX nor Flax."""

import dataclasses
import functools
import importlib
import logging
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from logocap_jax.skeletons import Skeleton, parse_skeleton

if typing.TYPE_CHECKING:
    from logocap_jax.methods.base import Method, MethodSpec
    from logocap_jax.torch_rows import WeightFormat

_LOG = logging.getLogger(__name__)

METHODS = {
    "logocap": "logocap_jax.methods.logocap",
    "center_offset": "logocap_jax.methods.center_offset",
    "dekr": "logocap_jax.methods.dekr",
    "ranking": "logocap_jax.methods.ranking",
    "higherhrnet": "logocap_jax.methods.higherhrnet",
    "topdown": "logocap_jax.methods.topdown",
}
"""The package of each method: its module `spec` holds `SPEC`, a `MethodSpec`; its
module `weights` holds `FORMAT`, a `WeightFormat`."""


def find_method(name: str) -> "MethodSpec":
    """The record of a method, imported when it is asked for.

    Raises:
      ValueError: if the name is unknown.
    """
    return _import_module(name, "spec").SPEC


def find_format(name: str) -> "WeightFormat":
    """The PyTorch checkpoints of a method; starts no JAX.

    Raises:
      ValueError: if the name is unknown.
    """
    return _import_module(name, "weights").FORMAT


def _import_module(name: str, module: str) -> types.ModuleType:
    if name not in METHODS:
        raise ValueError(f"got method {name!r}, expected one of {sorted(METHODS)}")
    return importlib.import_module(f"{METHODS[name]}.{module}")


def default_settings(name: str) -> dict[str, Any]:
    """All settings of a method as plain values, for `build_method`.

    Raises:
      ValueError: if the name is unknown.
    """
    settings = dataclasses.asdict(find_method(name).config())
    del settings["skeleton"]  # comes with the data, not with a config file
    return settings


def marked_settings(name: str, mark: str) -> tuple[str, ...]:
    """Dotted names of a method's settings with a mark: `test_time` or `free`."""
    return tuple(_marked(find_method(name).config, mark))


def build_method(name: str, settings: Mapping[str, Any]) -> "Method":
    """Build a method from plain settings, as a config file holds them.

    Args:
      name: one of `METHODS`.
      settings: fields of the method's config; a field that is a dataclass is a mapping
        of its own fields. Fields left out keep their defaults, the reference's.

    Returns:
      The method.

    Raises:
      ValueError: if the name or a field is unknown; lists the known ones.
    """
    return find_method(name).make(build_config(name, settings))


def build_config(name: str, settings: Mapping[str, Any]) -> Any:
    """Build a method's config from plain settings, as `build_method` takes them.

    The flip test is off, and one line says so, where sides of keypoints are unknown.
    """
    settings = dict(settings)
    if "skeleton" in settings:
        settings["skeleton"] = parse_skeleton(settings["skeleton"])
    config = _make_config(find_method(name).config, settings)
    if config.skeleton.mirrors:
        return config
    _tell_sides(config.skeleton)
    is_flipped = getattr(config, "flip_test", False)
    return dataclasses.replace(config, flip_test=False) if is_flipped else config


@functools.cache  # once for each skeleton
def _tell_sides(skeleton: Skeleton) -> None:
    _LOG.warning(
        "skeleton %r: mirroring is off, in training and in the flip test: the names of "
        "its keypoints do not pair left and right; pair them with flip_pairs in "
        "skeleton.toml (flip_pairs = [] if each mirrors itself)",
        skeleton.name,
    )


def _make_config(config_type: type, settings: Mapping[str, Any]) -> Any:
    fields = dataclasses.fields(config_type)
    known = {field.name for field in fields}
    needed = {
        field.name
        for field in fields
        if field.default is field.default_factory is dataclasses.MISSING
    }
    unknown, missing = sorted(set(settings) - known), sorted(needed - set(settings))
    if unknown or missing:
        raise ValueError(
            f"{config_type.__name__}: got unknown settings {unknown}, and lack "
            f"{missing}; expected some of {sorted(known)}"
        )
    hints = typing.get_type_hints(config_type)
    return config_type(
        **{
            key: _make_config(hints[key], value)
            if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping)
            else value
            for key, value in settings.items()
        }
    )


def _marked(config_type: type, mark: str) -> Iterator[str]:
    hints = typing.get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        if field.metadata.get(mark):
            yield field.name
        if dataclasses.is_dataclass(hints[field.name]):
            for name in _marked(hints[field.name], mark):
                yield f"{field.name}.{name}"
