"""What a checkpoint tells of itself, beside its arrays: settings and checksums."""

import zlib
from collections.abc import Collection
from typing import Any

import jax
import numpy as np

from logocap_jax.training.errors import MismatchError
from logocap_jax.training.state import TrainState


def describe_leaves(state: TrainState) -> dict[str, dict[str, Any]]:
    """Shape and checksum of each array, as JSON holds them."""
    return {
        path: {
            "shape": list(leaf.shape),
            "crc32": zlib.crc32(np.ascontiguousarray(leaf).data),
        }
        for path, leaf in _leaves(state)
    }


def check_fit(
    meta: dict[str, Any],
    like: TrainState,
    settings: dict[str, Any],
    *,
    free: Collection[str],
    name: str,
    shapes_suffice: bool,
) -> None:
    """Check that a checkpoint is of these settings.

    Args:
      meta: what it tells of itself.
      like: a state with the wanted shapes.
      settings: the wanted settings, as JSON gives them back.
      free: those that may differ, such as `method.flip_test`.
      name: how to call the checkpoint.
      shapes_suffice: whether settings may differ as long as the shapes are right, all
        but the skeleton: of another one, numbers of these shapes mean something else.

    Raises:
      MismatchError: if it is not.
    """
    saved = {path: leaf["shape"] for path, leaf in meta["leaves"].items()}
    fits = saved == {path: list(leaf.shape) for path, leaf in _leaves(like)}
    of_saved = meta["settings"]
    if shapes_suffice:
        # A reader need not know all that a run was made with.
        shared = settings.keys() & of_saved.keys()
        if fits:
            shared &= {"skeleton"}
        of_saved, settings = (
            {key: each[key] for key in shared} for each in (of_saved, settings)
        )
    differing = _differences(of_saved, settings, free)
    if differing:
        raise MismatchError(
            f"{name} was made with {', '.join(differing)}; use its settings, or "
            "another --workdir"
        )
    if not fits:
        raise MismatchError(
            f"{name} holds other arrays than this version of the method; evaluate "
            "it with the version that made it, or use another --workdir"
        )


def _leaves(state: TrainState) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree.leaves_with_path(vars(state))
    ]


def _differences(
    saved: dict[str, Any], wanted: dict[str, Any], free: Collection[str]
) -> list[str]:
    """The settings that differ and must not, one text each."""
    saved, wanted = _flatten(saved), _flatten(wanted)
    return [
        f"{key}={saved.get(key)!r} (config: {wanted.get(key)!r})"
        for key in sorted((saved.keys() | wanted.keys()) - set(free))
        if saved.get(key) != wanted.get(key)
    ]


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
