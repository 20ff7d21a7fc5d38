"""A method and its settings, as a run tells them or read off weights."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logocap_jax.checksums import verify_checksum
from logocap_jax.methods import build_config, build_method
from logocap_jax.skeletons import KNOWN, Skeleton, parse_skeleton
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import checkpoint_folder, read_file
from logocap_jax.weights.named import find_named, find_weights
from logocap_jax.weights.packed import packed_about
from logocap_jax.weights.recognise import (
    identify,
    is_ours,
    method_shapes,
    own_arrays,
    recognise_weights,
)
from logocap_jax.weights.trees import (
    Report,
    Variables,
    flatten,
    match_arrays,
    unflatten,
)

if TYPE_CHECKING:
    from logocap_jax.methods.base import Method


def load_settings(
    path: Path, changes: dict[str, Any]
) -> tuple[dict[str, Any], Variables]:
    """Load weights, with the `name` and settings of the method they belong to.

    Takes what `find_weights` finds: a run of `train.py`, which knows its settings, or
    any file that `logocap convert` reads or writes, whose sizes are read; all else is
    the reference's, or, of weights by name, as they were scored. `changes` replace what
    is found. `build_fitting` checks that the arrays are complete.

    Raises:
      ValueError: unreadable, or not of a known method.
    """
    named, path = find_named(path), find_weights(path)
    arrays = read_file(path)
    with errors_naming(path):
        if not is_ours(arrays):
            source = identify(arrays).source
            Report([], source.unknown, [], []).require_complete()
            arrays = source.arrays
        variables = unflatten(arrays)
    settings = saved_settings(path)
    if settings is None:
        with errors_naming(path):
            given = changes.get("skeleton")
            settings = read_settings(variables, given and parse_skeleton(given))
    return settings | dict(named.settings if named else {}) | changes, variables


def config_of(settings: dict[str, Any]) -> Any:
    """The config of the method with these settings, from `load_settings`."""
    return build_config(*_split_name(settings))


def build_from(path: Path, settings: dict[str, Any]) -> "Method":
    """Build the method with these settings, from `load_settings`.

    Raises:
      ValueError: settings that are unknown or have no meaning; names `path`.
    """
    with errors_naming(path):
        return build_method(*_split_name(settings))


def build_fitting(
    path: Path, settings: dict[str, Any], variables: Variables
) -> "Method":
    """Build the method that weights belong to, from `load_settings`.

    Raises:
      ValueError: as `build_from`, or the settings do not fit the weights.
    """
    method = build_from(path, settings)
    with errors_naming(path):
        shapes, optional = method_shapes(method)
        source = own_arrays(flatten(variables))
        match_arrays(source, shapes, optional=optional)[1].require_complete()
    return method


def _split_name(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return settings["name"], {k: v for k, v in settings.items() if k != "name"}


def saved_settings(path: Path) -> dict[str, Any] | None:
    """The settings that training wrote beside a run's checkpoint.

    The method's `name` and its settings, the skeleton among them; None for weights that
    are no run, nor packed from one.

    Raises:
      ValueError: if they are damaged, or of a version that wrote no checksum.
    """
    meta = saved_about(path)
    if meta is None:
        return None
    return _with_tuples(meta["settings"]["method"] | {"skeleton": meta["skeleton"]})


def usual_short_side(path: Path) -> int | None:
    """The short side of inputs that weights are tested with, px; None: unknown.

    A run knows it, and so do weights by name.
    """
    if named := find_named(path):
        return named.short_side
    return (saved_about(find_weights(path)) or {}).get("short_side")


def saved_stage(path: Path) -> str | None:
    """The stage of training that a run is of; None for what is no run, or damaged."""
    with contextlib.suppress(ValueError):
        if meta := saved_about(path):
            return str(meta["settings"].get("stage", "main"))
    return None


def saved_about(path: Path) -> dict[str, Any] | None:
    """What a run's checkpoint, or a packed file, says of itself; None: nothing.

    Raises:
      ValueError: if it is damaged.
    """
    path = checkpoint_folder(path) / "meta" / "metadata"
    if not path.is_file():
        return packed_about(path.parents[1])
    with errors_naming(path):
        meta = json.loads(path.read_bytes())
        verify_checksum(meta)
        return meta


def read_settings(
    variables: Variables, skeleton: Skeleton | None = None
) -> dict[str, Any]:
    """Read off a whole model's variables the method's `name` and settings.

    Sizes and the skeleton only: what weights do not tell (windows, thresholds) is left
    to the defaults, the reference's. By default the number of keypoints tells the
    skeleton: the only one of `skeletons.KNOWN` that has as many.

    Raises:
      ValueError: not the weights of a known method, or of another skeleton.
    """
    name, settings = recognise_weights(flatten(variables))
    count, num_sticks = settings.pop("num_keypoints"), settings.pop("num_sticks", None)
    skeleton = skeleton or KNOWN.get(count)
    if skeleton is None:
        counts = ", ".join(f"{size} ({known.name})" for size, known in KNOWN.items())
        raise ValueError(
            f"got weights for {count} keypoints, expected {counts}, or their data "
            "set's folder: --skeleton DIR, in Python skeleton=..."
        )
    if count != skeleton.num_keypoints:
        raise ValueError(
            f"got weights for {count} keypoints, expected the "
            f"{skeleton.num_keypoints} of skeleton {skeleton.name!r}"
        )
    if num_sticks not in (None, len(skeleton.sticks)):
        raise ValueError(
            f"got a scorer for {num_sticks} sticks, expected the "
            f"{len(skeleton.sticks)} of skeleton {skeleton.name!r}"
        )
    return {"name": name, **settings, "skeleton": dataclasses.asdict(skeleton)}


def _with_tuples(value: Any) -> Any:
    """JSON has lists only; settings have tuples only."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {name: _with_tuples(item) for name, item in value.items()}
    return value
