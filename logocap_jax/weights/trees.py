"""Trees of variables: flat by path, and against the arrays of a file."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from logocap_jax.torch_rows import PathArrays, Shapes

# `{"params": ..., "batch_stats": ...}`, nested dicts whose leaves are arrays.
Variables = Mapping[str, Any]


def flatten(tree: Variables) -> dict[str, Any]:
    """Map the path of every leaf, its keys joined by `/`, to the leaf."""
    flat: dict[str, Any] = {}
    for name, child in tree.items():
        if isinstance(child, Mapping):
            flat |= {f"{name}/{path}": leaf for path, leaf in flatten(child).items()}
        else:
            flat[name] = child
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `flatten`.

    Raises:
      ValueError: one path is both a leaf and a folder of leaves.
    """
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path}: {folder!r} is a leaf, expected a folder")
        if name in node:
            raise ValueError(f"{path}: a folder of the same path exists")
        node[name] = leaf
    return tree


@dataclasses.dataclass(frozen=True)
class Report:
    """Outcome for each array."""

    used: list[str]  #: names in the file of the arrays that were taken
    unused: list[str]  #: names in the file that the model has no place for
    #: Paths in the model that the file has no array for; of a file that is of no whole
    #: model, the modules of its method that it lacks.
    missing: list[str]
    wrong_shape: list[str]  #: path, shape in the file (our layout), shape expected
    #: Optional parts of the model that the file lacks as a whole; their paths are
    #: `missing`, too.
    absent: list[str] = dataclasses.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True if file and model agree one to one."""
        return not (self.unused or self.missing or self.wrong_shape)

    def format(self, *, max_names: int = 20) -> str:
        """Table of counts, then up to `max_names` names of each kind but the used."""
        rows = {
            "used": self.used,
            "unused": self.unused,
            "missing": self.missing,
            "wrong shape": self.wrong_shape,
        }
        lines = [f"{kind:<12}{len(names):>6}" for kind, names in rows.items()]
        del rows["used"]
        for kind, names in rows.items():
            if names:
                lines += ["", f"{kind}:", *(f"  {name}" for name in names[:max_names])]
            if len(names) > max_names:
                lines.append(f"  ... and {len(names) - max_names} more")
        return "\n".join(lines)

    def require_complete(self) -> None:
        """Refuse anything but a one-to-one match.

        Raises:
          ValueError: an array is unused, missing or of the wrong shape.
        """
        if self.complete:
            return
        if self.absent:
            raise ValueError(
                f"got weights without {', '.join(self.absent)}, expected them with it, "
                "as the settings ask for; train it, or turn it off"
            )
        counts = (
            ("unused", self.unused),
            ("missing", self.missing),
            ("of the wrong shape", self.wrong_shape),
        )
        reasons = ", ".join(
            f"{len(names)} arrays {kind} (first: {names[0]})"
            for kind, names in counts
            if names
        )
        raise ValueError(f"{reasons}; a partial load (--partial) takes what fits")


def match_arrays(
    source: PathArrays, shapes: Shapes, *, optional: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], Report]:
    """Split arrays into those that the model takes and the rest.

    `optional` are parts of the model (paths without the collection, such as `scorer`)
    that some settings leave out: where the model lacks one as a whole, its arrays are
    neither taken nor unused.
    """
    held, known = (
        {part for part in optional for path in paths if is_in(path, [part])}
        for paths in (source.arrays, shapes)
    )
    taken, report = {}, Report([], list(source.unknown), [], [])
    for path, array in source.arrays.items():
        if is_in(path, held - known):
            continue
        if path not in shapes:
            report.unused.append(source.names[path])
        elif array.shape != shapes[path]:
            report.wrong_shape.append(
                f"{path}: got {array.shape}, expected {shapes[path]}"
            )
        else:
            taken[path] = array
            report.used.append(source.names[path])
    report.missing.extend(path for path in shapes if path not in source.arrays)
    report.absent.extend(sorted(known - held))
    return taken, report


def is_in(path: str, parts: Collection[str]) -> bool:
    """True if a path is in one of some parts of a model, whatever its collection."""
    inner = path.partition("/")[2]
    return any(inner.startswith(f"{part}/") for part in parts)
