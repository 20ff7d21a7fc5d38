"""Start a run from weights: all of them, or whole parts such as the backbone."""

import logging
from collections.abc import Iterable
from pathlib import Path

from logocap_jax.methods.base import Variables
from logocap_jax.weights.files import read_weights
from logocap_jax.weights.trees import flatten, unflatten

_LOG = logging.getLogger(__name__)

# Collection, network, and within it the backbone or a head.
_DEPTH_OF_PART = 3


def start_from(path: Path, fresh: Variables) -> Variables:
    """Put weights from a file into fresh variables.

    A part that the file lacks as a whole (heads, for an ImageNet backbone) stays
    fresh, and so do, of a model for another number of keypoints, the parts that depend
    on it; arrays that the model has no place for are left out. All is logged.

    Args:
      path: what `read_weights` takes.
      fresh: variables of the model.

    Returns:
      Variables of the model.

    Raises:
      ValueError: unreadable, an array of another shape, a part that is there by half,
        or nothing that fits.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such weights; expected a file or a folder")
    loaded, report = read_weights(path, expected=fresh, partial=True)
    taken, wrong_shape = flatten(loaded), report.wrong_shape
    others = _of_other_keypoints(wrong_shape)
    if others:
        _LOG.info("fresh, for other keypoints: %s", ", ".join(sorted(others)))
        taken = {name: taken[name] for name in taken if _module(name) not in others}
        wrong_shape = [name for name in wrong_shape if _module(name) not in others]
    begun = {_part(name) for name in taken}
    halved = [name for name in report.missing if _part(name) in begun]
    for reason, names in (
        ("arrays of the wrong shape", wrong_shape),
        ("no arrays for parts of which it has others", halved),
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


def _of_other_keypoints(wrong_shape: Iterable[str]) -> set[str]:
    """The modules to leave fresh; none if the numbers of keypoints are the same.

    Args:
      wrong_shape: what the file has for the model in other shapes.
    """
    names = [text.partition(":")[0] for text in wrong_shape]
    # Its size is the number of heatmaps, and nothing else.
    if "params/dense/heatmap_head/output/bias" not in names:
        return set()
    return {_module(name) for name in names} - {"dense/backbone"}


def _module(name: str) -> str:
    return "/".join(_part(name)[1:])


def _part(name: str) -> tuple[str, ...]:
    return tuple(name.split("/")[:_DEPTH_OF_PART])
