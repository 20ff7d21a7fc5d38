"""One table between keys of the PyTorch state dict and paths in our variables.

Each row names a module on both sides; what it holds (its leaves) depends on its
kind. Rows are compiled to regular expressions, so a key matches a row whole or not
at all, and the table is read in both directions.
"""

import functools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """How an array's axes differ between PyTorch and here.

    Attributes:
      to_ours: a view in our layout; an array of the wrong rank is left as it is, so
        that it is reported by its shape.
      to_torch: the inverse.
    """

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


class Entry(NamedTuple):
    """An array's two names, and its layout."""

    torch_key: str
    path: str
    layout: Layout


class _Leaf(NamedTuple):
    torch: str
    collection: str
    ours: str
    layout: Layout


class _Row(NamedTuple):
    """`{name}` in the module names stands for a number, the same on both sides."""

    torch: str
    ours: str
    leaves: tuple[_Leaf, ...]


def _oihw_to_hwio(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel


def _hwio_to_oihw(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel


def _pointwise_to_matrix(kernel: np.ndarray) -> np.ndarray:
    return kernel[:, :, 0, 0].T if kernel.shape[2:] == (1, 1) else kernel


def _matrix_to_pointwise(kernel: np.ndarray) -> np.ndarray:
    return kernel.T[:, :, None, None] if kernel.ndim == 2 else kernel


def _same(array: np.ndarray) -> np.ndarray:
    return array


_SAME = Layout(_same, _same)
_KERNEL = Layout(_oihw_to_hwio, _hwio_to_oihw)
_MATRIX = Layout(_pointwise_to_matrix, _matrix_to_pointwise)

_CONV = (_Leaf("weight", "params", "kernel", _KERNEL),)
_BIASED_CONV = (*_CONV, _Leaf("bias", "params", "bias", _SAME))
_STATISTICS = (
    _Leaf("running_mean", "batch_stats", "mean", _SAME),
    _Leaf("running_var", "batch_stats", "var", _SAME),
)
_NORM = (
    _Leaf("weight", "params", "scale", _SAME),
    _Leaf("bias", "params", "bias", _SAME),
    *_STATISTICS,
)
_ATTENTIVE_NORM = (
    _Leaf("weight_", "params", "scale", _SAME),
    _Leaf("bias_", "params", "bias", _SAME),
    _Leaf("attn_weights.attention.0.weight", "params", "attention/kernel", _MATRIX),
    _Leaf("running_mean", "batch_stats", "norm/mean", _SAME),
    _Leaf("running_var", "batch_stats", "norm/var", _SAME),
)


def _conv_norm(torch: str, ours: str) -> tuple[_Row, _Row]:
    """A `Sequential` of convolution and norm."""
    return (
        _Row(f"{torch}.0", f"{ours}/conv", _CONV),
        _Row(f"{torch}.1", f"{ours}/norm", _NORM),
    )


def _fuse_rows(branches: int = 4) -> Iterator[_Row]:
    """Exchange between branches: one step up, or several down."""
    for to in range(branches):
        for source in range(branches):
            torch = f"backbone.stage{{s}}.{{m}}.fuse_layers.{to}.{source}"
            ours = f"dense/backbone/stage{{s}}_module{{m}}/fuse{to}_from{source}"
            if source > to:
                yield from _conv_norm(torch, f"{ours}_step0")
            if source < to:
                yield from _conv_norm(f"{torch}.{{n}}", f"{ours}_step{{n}}")


_BLOCK = "dense/backbone/layer1_block{i}"
_BRANCH = "dense/backbone/stage{s}_module{m}/branch{b}_block{j}"
_TABLE = (
    _Row("backbone.conv{n}", "dense/backbone/stem_conv{n}", _CONV),
    _Row("backbone.bn{n}", "dense/backbone/stem_norm{n}", _NORM),
    _Row("backbone.layer1.{i}.conv{n}", f"{_BLOCK}/conv{{n}}", _CONV),
    _Row("backbone.layer1.{i}.bn{n}", f"{_BLOCK}/norm{{n}}", _NORM),
    _Row("backbone.layer1.{i}.downsample.0", f"{_BLOCK}/shortcut_conv", _CONV),
    _Row("backbone.layer1.{i}.downsample.1", f"{_BLOCK}/shortcut_norm", _NORM),
    # Branch 0 is converted at its own stride; branch t > 0 is new at transition t.
    *_conv_norm("backbone.transition1.0", "dense/backbone/transition1_branch0"),
    *_conv_norm(
        "backbone.transition{t}.{t}.0", "dense/backbone/transition{t}_branch{t}"
    ),
    _Row(
        "backbone.stage{s}.{m}.branches.{b}.{j}.conv{n}", f"{_BRANCH}/conv{{n}}", _CONV
    ),
    _Row("backbone.stage{s}.{m}.branches.{b}.{j}.bn{n}", f"{_BRANCH}/norm{{n}}", _NORM),
    *_fuse_rows(),
    *_conv_norm("transition_cls", "dense/heatmap_head"),
    _Row("final_layer_cls", "dense/heatmap_head/output", _BIASED_CONV),
    *_conv_norm("transition_reg", "dense/offset_head"),
    _Row("final_layer_reg", "dense/offset_head/output", _BIASED_CONV),
    *_conv_norm("transition_embedding", "dense/embedding_head"),
    _Row("joints_mlp.0", "maps/message0_conv", _CONV),
    _Row("joints_mlp.1", "maps/message0_norm", _NORM),
    _Row("joints_mlp.3", "maps/message1_conv", _CONV),
    _Row("joints_mlp.4", "maps/message1_norm", _ATTENTIVE_NORM),
    _Row("joints_mlp.6", "maps/message2_conv", _CONV),
    _Row("joints_mlp.7", "maps/message2_norm", _NORM),
    _Row("joints_mlp.9", "maps/output", _BIASED_CONV),
)


def find_torch_key(key: str) -> Entry | None:
    """The table's entry for a key of the PyTorch state dict.

    Args:
      key: without `module.`, the backbone's with `backbone.`.

    Returns:
      None if the model has no such array.

    Raises:
      ValueError: several rows match, which is a mistake in the table.
    """
    return _only(key, list(_entries(key, "torch")))


def find_path(path: str) -> Entry | None:
    """The table's entry for a path such as `params/dense/backbone/...`.

    Returns:
      None if the PyTorch model has no such array.

    Raises:
      ValueError: several rows match, which is a mistake in the table.
    """
    collection, _, rest = path.partition("/")
    entries = [e for e in _entries(rest, "ours") if e.path == path]
    return _only(f"{collection}/{rest}", entries)


def _only(name: str, entries: list[Entry]) -> Entry | None:
    if len(entries) > 1:
        raise ValueError(f"{name}: {len(entries)} rows of the table match, expected 1")
    return entries[0] if entries else None


def _entries(name: str, side: str) -> Iterator[Entry]:
    for row, pattern in _patterns(side):
        if match := pattern.fullmatch(name):
            numbers = match.groupdict()
            found = numbers.pop("leaf")
            leaf = next(leaf for leaf in row.leaves if getattr(leaf, side) == found)
            torch = f"{row.torch.format(**numbers)}.{leaf.torch}"
            ours = f"{leaf.collection}/{row.ours.format(**numbers)}/{leaf.ours}"
            yield Entry(torch, ours, leaf.layout)


@functools.cache
def _patterns(side: str) -> tuple[tuple[_Row, re.Pattern[str]], ...]:
    separator = {"torch": r"\.", "ours": "/"}[side]
    patterns = []
    for row in _TABLE:
        leaves = "|".join(re.escape(getattr(leaf, side)) for leaf in row.leaves)
        module = _module_pattern(getattr(row, side))
        pattern = re.compile(f"{module}{separator}(?P<leaf>{leaves})")
        patterns.append((row, pattern))
    return tuple(patterns)


def _module_pattern(template: str) -> str:
    """Literal text, with a number for each `{name}`, equal where a name recurs."""
    pattern, seen = "", set()
    for i, part in enumerate(re.split(r"\{(\w+)\}", template)):
        if i % 2 == 0:
            pattern += re.escape(part)
        elif part in seen:
            pattern += f"(?P={part})"
        else:
            pattern += f"(?P<{part}>[0-9]+)"
            seen.add(part)
    return pattern
