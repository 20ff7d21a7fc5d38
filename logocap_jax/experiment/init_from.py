"""Start a run from weights: all of them, or whole parts such as the backbone."""

import logging
from pathlib import Path

from logocap_jax.convert.files import read_weights
from logocap_jax.convert.trees import flatten, unflatten
from logocap_jax.methods.base import Variables

_LOG = logging.getLogger(__name__)

# Collection, network, and within it the backbone or a head.
_DEPTH_OF_PART = 3


def start_from(path: Path, fresh: Variables) -> Variables:
    """Put weights from a file into fresh variables.

    A part that the file lacks as a whole (heads, for an ImageNet backbone) stays
    fresh; arrays that the model has no place for are left out. Both are logged.

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
    taken = flatten(loaded)
    begun = {_part(name) for name in taken}
    halved = [name for name in report.missing if _part(name) in begun]
    for reason, names in (
        ("arrays of the wrong shape", report.wrong_shape),
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


def _part(name: str) -> tuple[str, ...]:
    return tuple(name.split("/")[:_DEPTH_OF_PART])
