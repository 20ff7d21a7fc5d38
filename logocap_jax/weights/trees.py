"""Nested variables <-> flat mappings with paths such as `params/dense/backbone`."""

from collections.abc import Mapping
from typing import Any

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
