"""The method that weights belong to, and the arrays that it has."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from logocap_jax.methods import METHODS, build_method, find_format
from logocap_jax.skeletons import KNOWN, Skeleton
from logocap_jax.torch_rows import PathArrays, Settings, Shapes
from logocap_jax.weights.trees import flatten

if TYPE_CHECKING:
    from logocap_jax.methods.base import Method

# Collections of our variables: the first folder of a path in our own files.
_COLLECTIONS = ("params/", "batch_stats/")


class Identified(NamedTuple):
    """Arrays as a method reads them."""

    method: str  #: its name
    #: Those that the shapes tell, `num_keypoints` among them; None: not a whole model,
    #: but the method whose table has most of the arrays.
    settings: Settings | None
    source: PathArrays  #: the arrays by path


def is_ours(names: Iterable[str]) -> bool:
    """True if arrays are named by our paths, not by PyTorch's keys."""
    return any(name.startswith(_COLLECTIONS) for name in names)


def own_arrays(arrays: Mapping[str, Any]) -> PathArrays:
    """Arrays that are named by our paths."""
    return PathArrays(dict(arrays), {path: path for path in arrays}, [])


def identify(arrays: Mapping[str, Any], method: str | None = None) -> Identified:
    """Find the method whose table of names has most of the arrays.

    Of methods whose tables have equally many, the one that recognises a whole model is
    taken; if none does, the first of `METHODS`.

    Args:
      arrays: by our paths or PyTorch's keys; of the former the shapes are enough.
      method: its name, if known.

    Raises:
      ValueError: no table has any of the arrays, several methods recognise them, or
        they are damaged.
    """
    candidates = []
    for name, source in _closest(arrays, method).items():
        shapes = {path: array.shape for path, array in source.arrays.items()}
        settings = find_format(name).recognise(shapes)
        candidates.append(Identified(name, settings, source))
    recognised = [item for item in candidates if item.settings is not None]
    if len(recognised) > 1:
        fitting = ", ".join(item.method for item in recognised)
        raise ValueError(f"got weights that fit several methods, {fitting}: name one")
    return (recognised or candidates)[0]


def find_table(arrays: Mapping[str, Any]) -> str:
    """The method to write arrays as; any part of its model will do.

    Raises:
      ValueError: as `identify`.
    """
    name, *others = _closest(arrays, None)
    return identify(arrays).method if others else name


def _closest(arrays: Mapping[str, Any], method: str | None) -> dict[str, PathArrays]:
    names = list(METHODS) if method is None else [method]
    sources = {name: _by_path(arrays, name) for name in names}
    sources = {name: source for name, source in sources.items() if source.arrays}
    if not sources:
        raise ValueError(
            f"got {len(arrays)} arrays such as {next(iter(arrays), None)!r}, expected "
            f"weights of one of {', '.join(names)}"
        )
    fewest = min(len(source.unknown) for source in sources.values())
    return {
        name: source
        for name, source in sources.items()
        if len(source.unknown) == fewest
    }


def _by_path(arrays: Mapping[str, Any], method: str) -> PathArrays:
    table = find_format(method)
    if not is_ours(arrays):
        return table.from_torch(arrays)
    known = {path: array for path, array in arrays.items() if table.find_path(path)}
    unknown = [path for path in arrays if path not in known]
    return own_arrays(known)._replace(unknown=unknown)


def recognise_weights(arrays: Mapping[str, Any]) -> tuple[str, Settings]:
    """Recognise a whole model's method and settings, from names and shapes alone.

    The settings are the sizes that the shapes tell, and `num_keypoints`; also
    `num_sticks` if they tell it.

    Raises:
      ValueError: as `identify`, or not of a whole model.
    """
    identified = identify(arrays)
    if identified.settings is None:
        absent = find_format(identified.method).absent_modules(identified.source.arrays)
        raise ValueError(
            f"got weights of no whole model, expected one of {', '.join(METHODS)} "
            f"({identified.method} lacks {', '.join(absent[:3])})"
        )
    return identified.method, identified.settings


def expected_shapes(name: str, settings: Settings) -> tuple[Shapes, list[str]]:
    """Shapes by path of a method's arrays, and the parts that are optional.

    Starts JAX, but computes nothing; settings as `recognise_weights` returns them.
    """
    others = dict(settings)
    skeleton = _skeleton_of_size(
        others.pop("num_keypoints"), others.pop("num_sticks", None)
    )
    return method_shapes(build_method(name, others | {"skeleton": skeleton}))


def method_shapes(method: "Method") -> tuple[Shapes, list[str]]:
    """Shapes by path of a `Method`'s arrays; the parts that are optional."""
    import jax

    tree = jax.eval_shape(lambda: method.init(jax.random.key(0)))
    shapes = {path: leaf.shape for path, leaf in flatten(tree).items()}
    return shapes, [
        path for part in method.parts if part.optional for path in part.paths
    ]


def _skeleton_of_size(count: int, num_sticks: int | None) -> dict[str, Any]:
    """Any skeleton: shapes depend on the numbers of keypoints and sticks alone."""
    skeleton = KNOWN.get(count)
    if skeleton is None or num_sticks not in (None, len(skeleton.sticks)):
        names = tuple(f"keypoint{i}" for i in range(count))
        limbs = ((0, 1),) * (num_sticks or 0)
        skeleton = Skeleton("unknown", names, (0.05,) * count, limbs)
    return dataclasses.asdict(skeleton)
