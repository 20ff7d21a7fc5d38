"""Start a run from weights: all of them, or whole modules such as the backbone."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from logocap_jax.methods.base import Variables
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import read_file, to_variables
from logocap_jax.weights.recognise import expected_shapes, identify
from logocap_jax.weights.trees import flatten, unflatten

_LOG = logging.getLogger(__name__)


def start_from(path: Path, fresh: Variables, *, method: str) -> Variables:
    """Put weights from a file or folder into fresh variables of a model.

    A module that the file lacks as a whole (heads, for an ImageNet backbone) stays
    fresh, and so do, of a model for another number of keypoints, the modules that
    depend on it; arrays that the model has no place for are left out. All is logged.
    `method` tells the PyTorch keys.

    Raises:
      ValueError: unreadable, an array of another shape, a module of which the file has
        some arrays only, or nothing that fits.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such weights; expected a file or a folder")
    arrays = read_file(path)
    with errors_naming(path):
        loaded, report = to_variables(
            arrays, expected=fresh, partial=True, method=method
        )
        others = _keypoint_modules(arrays, fresh, method) if report.wrong_shape else ()
    taken, wrong_shape = flatten(loaded), report.wrong_shape
    if others:
        _LOG.info("fresh, for other keypoints: %s", ", ".join(sorted(others)))
        taken = {name: taken[name] for name in taken if _module(name) not in others}
        wrong_shape = [text for text in wrong_shape if _module(text) not in others]
    begun = {_subtree(name) for name in taken}
    halved = [name for name in report.missing if _subtree(name) in begun]
    for reason, names in (
        ("arrays of the wrong shape", wrong_shape),
        ("arrays lacking in modules of which it has others", halved),
    ):
        if names:
            raise ValueError(
                f"{path}: {len(names)} {reason}, expected weights of this "
                f"architecture (first: {names[0]})"
            )
    if not taken:
        raise ValueError(
            f"{path}: no array fits; it has {', '.join(report.unused[:3])}, expected "
            f"such as {next(iter(flatten(fresh)))}"
        )
    _LOG.info("start from %s\n%s", path, report.format())
    return unflatten(flatten(fresh) | taken)


def _keypoint_modules(
    arrays: Mapping[str, np.ndarray], fresh: Variables, method: str
) -> set[str]:
    """The modules that depend on the number of keypoints, if the file has another."""
    settings = identify(flatten(fresh), method).settings
    of_file = identify(arrays).settings
    if not settings or not of_file:
        return set()
    number = {"num_keypoints": of_file["num_keypoints"]}
    before, after = (
        expected_shapes(method, sizes)[0] for sizes in (settings | number, settings)
    )
    return {_module(path) for path in after if after[path] != before[path]}


def _module(name: str) -> str:
    """`dense/heatmap_head` of `params/dense/heatmap_head/conv/kernel`."""
    return "/".join(_subtree(name)[1:])


def _subtree(name: str) -> tuple[str, ...]:
    return tuple(name.split("/")[:3])
