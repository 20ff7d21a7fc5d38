"""The methods: name and settings -> `Method`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from logocap_jax.methods.base import Method
from logocap_jax.methods.center_offset import make_center_offset
from logocap_jax.methods.initial_poses import KeypointerConfig
from logocap_jax.methods.logocap import LogoCapConfig, make_logocap
from logocap_jax.models.hrnet import HRNetConfig
from logocap_jax.skeletons import parse_skeleton

_METHODS = {
    "center_offset": (KeypointerConfig, make_center_offset),
    "logocap": (LogoCapConfig, make_logocap),
}

# Settings that the weights know nothing of: a run may be gone on with and evaluated
# with others than it was started with.
TEST_TIME_SETTINGS = ("flip_test", "test_scales", "slots_per_step", "refine_with")


def default_settings(name: str) -> dict[str, Any]:
    """All settings of a method as plain values: what `build_method` takes.

    Raises:
      ValueError: if the name is unknown.
    """
    config_type, _ = _find(name)
    settings = dataclasses.asdict(config_type())
    del settings["skeleton"]  # comes with the data, not with a config file
    return settings


def build_method(name: str, settings: Mapping[str, Any]) -> Method:
    """Build a method from plain settings, as a config file holds them.

    Args:
      name: `"logocap"` or `"center_offset"`.
      settings: fields of the method's config; `backbone` is a mapping of the
        fields of `HRNetConfig`, `skeleton` one of those of `Skeleton`. Fields left out
        keep the reference's values.

    Returns:
      The method.

    Raises:
      ValueError: if the name or a field is unknown; lists those that are known.
    """
    _, make = _find(name)
    return make(build_config(name, settings))


def build_config(name: str, settings: Mapping[str, Any]) -> Any:
    """Build a method's config from plain settings, as `build_method` takes them."""
    config_type, _ = _find(name)
    settings = dict(settings)
    if "backbone" in settings:
        settings["backbone"] = _make_config(HRNetConfig, settings["backbone"])
    if "skeleton" in settings:
        settings["skeleton"] = parse_skeleton(settings["skeleton"])
    return _make_config(config_type, settings)


def _find(name: str) -> tuple[Any, Any]:
    if name not in _METHODS:
        raise ValueError(f"got method {name!r}, expected one of {sorted(_METHODS)}")
    return _METHODS[name]


def _make_config(config_type: Any, settings: Mapping[str, Any]) -> Any:
    fields = dataclasses.fields(config_type)
    known = {field.name for field in fields}
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    unknown, missing = sorted(set(settings) - known), sorted(needed - set(settings))
    if unknown or missing:
        raise ValueError(
            f"{config_type.__name__}: got unknown settings {unknown}, and lack "
            f"{missing}; expected some of {sorted(known)}"
        )
    return config_type(**settings)
