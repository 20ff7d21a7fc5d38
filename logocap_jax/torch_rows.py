"""Names and layouts of arrays in PyTorch checkpoints, as tables; NumPy only.

A row names a module in the state dict and in our tree of variables; its leaves are the
arrays in it. A table is read in both directions. Modules that many methods share
(convolutions, norms, HRNet) are here; each method's own table is its `weights.py`.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from logocap_jax.public_weights import PublicWeights

Arrays = Mapping[str, np.ndarray]
StateDict = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
Settings = dict[str, Any]


class Layout(NamedTuple):
    """How an array's axes differ between PyTorch and here."""

    #: A view in our layout; an array of the wrong rank is left as it is, so that it is
    #: reported by its shape.
    from_torch: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]  #: the inverse


class Constant(NamedTuple):
    """An array of the state dict, the same in every model, that our tree lacks."""

    name: str  #: below the module's name
    value: np.ndarray  #: what is written
    exact: bool = True  #: refuse files with another value (report it as unused)


class Leaf(NamedTuple):
    """An array of a module."""

    torch: str  #: its name below the module in the state dict
    collection: str  #: of our variables, `params` or `batch_stats`
    path: str  #: its path below our module
    layout: Layout  #: how its axes differ
    #: Further entries of a state dict that holds this array.
    constants: tuple[Constant, ...] = ()


class Row(NamedTuple):
    """A module; `{name}` stands for a number, the same on both sides."""

    torch: str  #: its name in the state dict, such as `layer1.{i}.conv{n}`
    path: str  #: its path in our tree without the collection
    leaves: tuple[Leaf, ...]  #: its arrays


class Entry(NamedTuple):
    """One array: its key in the state dict, its path, and the row and leaf it is of."""

    key: str
    path: str
    row: Row
    leaf: Leaf


class PathArrays(NamedTuple):
    """Arrays of a file in our layout."""

    arrays: dict[str, np.ndarray]  #: by path
    names: dict[str, str]  #: path -> name in the file
    unknown: list[str]  #: names in the file of arrays that the table lacks


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class WeightFormat:
    """The PyTorch checkpoints of a method."""

    rows: tuple[Row, ...]  #: the table
    #: Shapes by path -> the method's settings that they tell, and `num_keypoints` in
    #: place of the skeleton (and `num_sticks`, where weights depend on those). None:
    #: not weights of this method. Raises `ValueError` for weights of this method that
    #: are damaged.
    recognise: Callable[[Shapes], Settings | None]
    #: Pattern and replacement for keys of older or other files; applied one after the
    #: other, after `module.` (data parallelism) is dropped.
    aliases: tuple[tuple[str, str], ...] = ()
    #: State dict of a file -> one whose every key has a row: join arrays that are one
    #: here, drop copies. Leaves alone what it cannot join; that is reported.
    merge: Callable[[StateDict], StateDict] = _same
    split: Callable[[StateDict], StateDict] = _same  #: the inverse, to write
    #: Parts of the model that PyTorch keeps in files of their own. Keys of the file
    #: `scorer` have the prefix `scorer.` in the table.
    files: tuple[str, ...] = ()
    #: Published checkpoints, by the names that `--weights` takes.
    public: Mapping[str, PublicWeights] = field(default_factory=dict)

    def from_torch(self, state: Arrays) -> PathArrays:
        """Bring a state dict to our paths and layouts; values and dtypes stay.

        Raises:
          ValueError: two arrays have the same key.
        """
        renamed: StateDict = {}
        for name, array in state.items():
            key = self.canonical(name)
            if key in renamed:
                raise ValueError(f"two arrays for {key!r}")
            renamed[key] = array
        found = PathArrays({}, {}, [])
        for key, array in self.merge(renamed).items():
            if entry := self.find_key(key):
                found.arrays[entry.path] = entry.leaf.layout.from_torch(array)
                found.names[entry.path] = key
            elif not self._is_constant(key, array):
                found.unknown.append(key)
        return found

    def to_torch(self, arrays: Arrays) -> StateDict:
        """Undo `from_torch`, bit for bit; constants get their usual values.

        Raises:
          ValueError: a path that the table lacks.
        """
        state: StateDict = {}
        for path, array in sorted(arrays.items()):
            entry = self.find_path(path)
            if entry is None:
                raise ValueError(f"{path}: the PyTorch model has no such array")
            state[entry.key] = entry.leaf.layout.to_torch(np.asarray(array))
            module = entry.key.removesuffix(entry.leaf.torch)
            for constant in entry.leaf.constants:
                state[f"{module}{constant.name}"] = constant.value
        state = self.split(state)
        return {key: np.asarray(array, order="C") for key, array in state.items()}

    def find_key(self, key: str) -> Entry | None:
        """The entry of a key of the state dict, None if the table lacks it.

        Raises:
          ValueError: several rows match, which is a mistake in the table.
        """
        return self._find(key, "torch", key)

    def find_path(self, path: str) -> Entry | None:
        """The entry of a path such as `params/dense/backbone/...`; as `find_key`."""
        return self._find(path.partition("/")[2], "path", path)

    def absent_modules(self, paths: Iterable[str]) -> list[str]:
        """Paths of the table's modules that none of the given paths is in."""
        modules = {row.path: row.leaves[0].collection for row in self.rows}
        for path in paths:
            if entry := self.find_path(path):
                modules.pop(entry.row.path, None)
        return [f"{collection}/{path}" for path, collection in modules.items()]

    def canonical(self, name: str) -> str:
        """The key that the table has for one of an older or other file."""
        for pattern, replacement in ((r"^module\.", ""), *self.aliases):
            name = re.sub(pattern, replacement, name, count=1)
        return name

    def _is_constant(self, key: str, array: np.ndarray) -> bool:
        return any(
            not constant.exact or np.array_equal(array, constant.value)
            for pattern, constant in self._constants
            if pattern.fullmatch(key)
        )

    def _find(self, name: str, side: str, full_name: str) -> Entry | None:
        entries = self._entries(name, side)
        found = [entry for entry in entries if full_name in (entry.key, entry.path)]
        if len(found) > 1:
            raise ValueError(
                f"{full_name}: {len(found)} rows of the table match, expected 1"
            )
        return found[0] if found else None

    def _entries(self, name: str, side: str) -> Iterator[Entry]:
        for row, pattern in self._patterns[side]:
            if match := pattern.fullmatch(name):
                numbers = match.groupdict()
                text = numbers.pop("leaf")
                leaf = next(leaf for leaf in row.leaves if getattr(leaf, side) == text)
                key = f"{row.torch.format(**numbers)}.{leaf.torch}"
                path = f"{leaf.collection}/{row.path.format(**numbers)}/{leaf.path}"
                yield Entry(key, path, row, leaf)

    @functools.cached_property
    def _patterns(self) -> dict[str, list[tuple[Row, re.Pattern[str]]]]:
        return {
            side: [(row, _row_pattern(row, side, separator)) for row in self.rows]
            for side, separator in (("torch", "."), ("path", "/"))
        }

    @functools.cached_property
    def _constants(self) -> list[tuple[re.Pattern[str], Constant]]:
        return [
            (re.compile(_pattern(f"{row.torch}.{constant.name}")), constant)
            for row in self.rows
            for leaf in row.leaves
            for constant in leaf.constants
        ]


def _row_pattern(row: Row, side: str, separator: str) -> re.Pattern[str]:
    leaves = "|".join(re.escape(getattr(leaf, side)) for leaf in row.leaves)
    return re.compile(f"{_pattern(getattr(row, side) + separator)}(?P<leaf>{leaves})")


def _pattern(template: str) -> str:
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


def _transpose(*axes: int) -> Callable[[np.ndarray], np.ndarray]:
    rank = len(axes)
    return lambda kernel: kernel.transpose(axes) if kernel.ndim == rank else kernel


def _from_transposed(kernel: np.ndarray) -> np.ndarray:
    return kernel[..., ::-1, ::-1].transpose(2, 3, 0, 1) if kernel.ndim == 4 else kernel


def _to_transposed(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 0, 1)[..., ::-1, ::-1] if kernel.ndim == 4 else kernel


SAME = Layout(_same, _same)
MATRIX = Layout(_transpose(1, 0), _transpose(1, 0))  # output x input <-> input x output
KERNEL = Layout(_transpose(2, 3, 1, 0), _transpose(3, 2, 0, 1))  # OIHW <-> HWIO
# IOHW of a transposed convolution, which PyTorch turns round.
TRANSPOSED = Layout(_from_transposed, _to_transposed)

# Counts training steps; PyTorch reads it only for norms without momentum.
STEPS = Constant("num_batches_tracked", np.zeros((), np.int64), exact=False)

CONV = (Leaf("weight", "params", "kernel", KERNEL),)
BIASED_CONV = (*CONV, Leaf("bias", "params", "bias", SAME))
LINEAR = (
    Leaf("weight", "params", "kernel", MATRIX),
    Leaf("bias", "params", "bias", SAME),
)
NORM = (
    Leaf("weight", "params", "scale", SAME),
    Leaf("bias", "params", "bias", SAME),
    Leaf("running_mean", "batch_stats", "mean", SAME),
    Leaf("running_var", "batch_stats", "var", SAME, (STEPS,)),
)


def conv_norm(torch: str, path: str) -> tuple[Row, Row]:
    """A `Sequential` of convolution and norm."""
    conv = Row(f"{torch}.0", f"{path}/conv", CONV)
    return conv, Row(f"{torch}.1", f"{path}/norm", NORM)


def bare_hrnet(prefix: str) -> tuple[str, str]:
    """An alias: keys of an HRNet alone, as ImageNet checkpoints hold it, get `prefix`.

    The other modules of such files (the classifier) keep their names.
    """
    return r"^(?=(?:conv|bn|layer|transition|stage)[1-4]\.)", prefix


def hrnet_rows(prefix: str, path: str) -> Iterator[Row]:
    """The rows of `models.hrnet.HRNet`.

    `prefix` is that of its keys, such as `backbone.`; `path` that of its module in our
    tree, such as `dense/backbone`.
    """
    yield Row(f"{prefix}conv{{n}}", f"{path}/stem_conv{{n}}", CONV)
    yield Row(f"{prefix}bn{{n}}", f"{path}/stem_norm{{n}}", NORM)
    torch, block = f"{prefix}layer1.{{i}}", f"{path}/layer1_block{{i}}"
    yield Row(f"{torch}.downsample.0", f"{block}/shortcut_conv", CONV)
    yield Row(f"{torch}.downsample.1", f"{block}/shortcut_norm", NORM)
    yield from residual_rows(torch, block)
    # Branch 0 is converted at its own stride; branch t > 0 is new at transition t.
    yield from conv_norm(f"{prefix}transition1.0", f"{path}/transition1_branch0")
    torch = f"{prefix}transition{{t}}.{{t}}.0"
    yield from conv_norm(torch, f"{path}/transition{{t}}_branch{{t}}")
    torch, module = f"{prefix}stage{{s}}.{{m}}", f"{path}/stage{{s}}_module{{m}}"
    branch = f"{module}/branch{{b}}_block{{j}}"
    yield from residual_rows(f"{torch}.branches.{{b}}.{{j}}", branch)
    for to in range(4):
        for source in range(4):
            fuse = f"{torch}.fuse_layers.{to}.{source}"
            ours = f"{module}/fuse{to}_from{source}"
            if source > to:  # one step up
                yield from conv_norm(fuse, f"{ours}_step0")
            if source < to:  # several down
                yield from conv_norm(f"{fuse}.{{n}}", f"{ours}_step{{n}}")


def residual_rows(torch: str, path: str) -> tuple[Row, Row]:
    """Convolutions and norms of a residual block, but for its shortcut."""
    return (
        Row(f"{torch}.conv{{n}}", f"{path}/conv{{n}}", CONV),
        Row(f"{torch}.bn{{n}}", f"{path}/norm{{n}}", NORM),
    )


def fine_rows(prefix: str, path: str) -> Iterator[Row]:
    """The rows of `models.fine.FineHead`, but for its last convolution."""
    kernel = Leaf("weight", "params", "kernel", TRANSPOSED)
    yield Row(f"{prefix}.0.0", f"{path}/conv", (kernel,))
    yield Row(f"{prefix}.0.1", f"{path}/norm", NORM)
    yield from residual_rows(f"{prefix}.{{j}}.0", f"{path}/block{{j}}")


def hrnet_settings(shapes: Shapes, path: str) -> Settings:
    """The fields of `HRNetConfig` that shapes tell; path as in `hrnet_rows`.

    Raises:
      ValueError: no HRNet, or numbered modules with gaps.
    """
    root = f"params/{path}"
    return {
        "channels": num_outputs(shapes, f"{root}/transition1_branch0/conv"),
        "stem_channels": num_outputs(shapes, f"{root}/stem_conv1"),
        "layer1_channels": num_outputs(shapes, f"{root}/layer1_block0/conv1"),
        "layer1_blocks": num_modules(shapes, root, r"layer1_block(\d+)"),
        "modules": (
            num_modules(shapes, root, r"stage2_module(\d+)"),
            num_modules(shapes, root, r"stage3_module(\d+)", least=0),
            num_modules(shapes, root, r"stage4_module(\d+)", least=0),
        ),
        "blocks": num_modules(shapes, root, r"stage2_module0/branch0_block(\d+)"),
    }


def num_outputs(shapes: Shapes, module: str) -> int:
    """Output channels of a convolution.

    Raises:
      ValueError: no such convolution.
    """
    path = f"{module}/kernel"
    if path not in shapes:
        raise ValueError(f"{path}: not among the weights")
    if len(shapes[path]) != 4:
        raise ValueError(f"{path}: got shape {shapes[path]}, expected 4 axes")
    return shapes[path][-1]


def num_modules(
    shapes: Shapes, root: str, numbered: str, least: int = 1, first: int = 0
) -> int:
    r"""Number of modules below `root` that match, such as `stage2_module(\d+)`.

    Raises:
      ValueError: fewer than `least`, or their numbers are not `first`, `first` + 1, ...
    """
    pattern = re.compile(f"{root}/{numbered}/")
    matches = (pattern.match(path) for path in shapes)
    numbers = {int(match[1]) for match in matches if match}
    if len(numbers) < least or numbers != {*range(first, first + len(numbers))}:
        raise ValueError(
            f"{root}/{numbered}: got numbers {sorted(numbers)[:20]}, "
            f"expected {first}, {first + 1}, ... without gaps"
        )
    return len(numbers)
