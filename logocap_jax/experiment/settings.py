"""Configs by name or file, overrides, and all settings of a run but the method's.

The defaults are the reference's for W32 on COCO. A config file starts from
`default_config` and changes what it needs.
"""

import ast
import dataclasses
import difflib
import inspect
import math
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.crops import CropAugmentation
from logocap_jax.methods import default_settings, find_method
from logocap_jax.weights.trees import flatten, unflatten

_REFERENCE = Augmentation()
_CROPS = CropAugmentation()
_Settings = TypeVar("_Settings")
_POSITIVE = (
    *("epochs", "log_every", "eval_every", "checkpoint_every", "max_skipped_in_row"),
    "learning_rate",
)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The section `data`."""

    dir: str = ""  # COCO's layout, or what `logocap prepare coco` wrote
    train_split: str = "train"
    eval_split: str = "val"
    input_size: int = 512  # side of the square input of training, px
    max_people: int = 30  # per image
    min_center_area: float = 32.0**2  # of people with a pose centre, image px^2
    num_workers: int = 0  # processes that load images; 0: threads
    stall_s: float = 45.0  # without a batch from the workers: the run ends
    max_bad_records: int = 0  # unreadable ones to replace, in each process
    augmentation: Augmentation = _REFERENCE
    crop_augmentation: CropAugmentation = _CROPS  # of methods that see one person


@dataclasses.dataclass(frozen=True)
class EvalSettings:
    """The section `eval`."""

    short_side: int = 512  # input px
    batch_size: int = 16
    detections: str = ""  # boxes of people, COCO results; "": the annotated ones


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings at the top of a config; `method` holds those of its method."""

    seed: int = 0
    stage: str = "main"  # of training; methods that train in several name others
    data: DataSettings = DataSettings()
    init_from: str = ""  # weights to start from: PyTorch's, or ours; see `start_from`
    batch_size: int = 48  # global; the reference: 12 on each of 4 GPUs
    epochs: float = 140.0
    accumulate: int = 1  # parts that a batch goes through the network in
    optimizer: str = "adam"  # or "adamw", "lamb"
    weight_decay: float = 0.0  # of AdamW and LAMB; kernels only
    clip_norm: float = 0.0  # largest global norm of a gradient; 0: any
    ema_decay: float = 0.0  # of the weights' moving average; 0: no average
    max_skipped_in_row: int = 10  # steps that are not finite, before a run stops
    learning_rate: float = 1e-3
    lr_scaling: str = "none"  # or "linear", "sqrt": in batch_size / lr_base_batch
    lr_base_batch: int = 48
    lr_milestones: tuple[float, ...] = (90.0, 120.0)
    lr_decay: float = 0.1
    lr_warmup: float = 0.0  # epochs
    lr_warmup_start: float = 0.0  # share of the rate that the first update has
    log_every: int = 50  # steps
    eval_every: float = 10.0  # epochs
    checkpoint_every: float = 1.0  # epochs
    eval: EvalSettings = EvalSettings()


def default_config(method: str) -> ConfigDict:
    """A locked config of the defaults, with those of a method.

    Raises:
      ValueError: if there is no such method.
    """
    config = ConfigDict(dataclasses.asdict(Settings()))
    config.method = ConfigDict({"name": method, **default_settings(method)})
    return config.lock()


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Read a config's plain values; its section `method` is only checked.

    Raises:
      ValueError: if a setting is unknown, or a number is beyond what any setting can
        mean: not finite, more than 32 bits, or 0 where that makes no sense.
    """
    for path, value in flatten(values).items():
        name = path.replace("/", ".")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"got {name}={value}, expected a finite number")
        if isinstance(value, int) and abs(value) >= 2**31:
            raise ValueError(f"got {name}={value}, expected less than 2^31")
    others = {name: value for name, value in values.items() if name != "method"}
    settings = _read(Settings, others, "config")
    for name in _POSITIVE:
        if not getattr(settings, name) > 0:
            raise ValueError(f"got {name}={values[name]}, expected more than 0")
    return settings


def _read(kind: type[_Settings], values: Mapping[str, Any], path: str) -> _Settings:
    known = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(f"{path}: got {unknown}, expected some of {sorted(known)}")
    sections = {
        name: _read(type(known[name]), value, f"{path}.{name}")
        for name, value in values.items()
        if isinstance(value, Mapping)
    }
    return kind(**{**values, **sections})


def change_method(config: ConfigDict, name: str) -> None:
    """Give a config another method.

    The section `method` becomes that of the other method's defaults; settings that
    both methods have keep the values that the config has changed.

    Raises:
      ValueError: if there is no such method.
    """
    old = flatten(default_settings(config.method.name))
    new = flatten(default_settings(name))
    for path, value in flatten(config.method.to_dict()).items():
        if path in new and (path not in old or old[path] != value):
            new[path] = value
    with config.unlocked():
        config.method = ConfigDict({"name": name, **unflatten(new)})


def change_stage(config: ConfigDict, name: str) -> None:
    """Give a config another stage of training, and the settings that it brings."""
    config.stage = name
    settings = find_method(config.method.name).stage_settings.get(name, {})
    config.update_from_flattened_dict(settings)


_PACKAGE = Path(__file__).resolve().parents[1]
_TRUTH = {"true": True, "false": False}


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Load a config, a new one each time, and change values in it.

    `method.name=NAME` and `stage=NAME` count first, in this order: they give the config
    another method or stage of training, see `change_method` and `change_stage`.

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
        if key == "stage":
            change_stage(config, text)
    for key, _, text in pairs:
        if key in ("method.name", "stage"):
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
        return tuple(_convert(item, like) for item in values)
    raise TypeError
