"""Read the pickles that `torch.save` writes, without running anything they name.

A pickle is a program for a stack machine. `pickle.Unpickler`, even with an allow-list
of globals, lets it set attributes of allowed objects and ask for gigabytes with a few
bytes. So the few instructions that a checkpoint needs are carried out here, on plain
data; any other is refused. Of the objects beside the tensors (settings, results of
training, arrays of NumPy) nothing is needed: each becomes a `Foreign`, whatever the
pickle does with it.
"""

import dataclasses
import io
import math
import pickletools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

_MAX_AXES = 8


class Storage(NamedTuple):
    """A flat array in the file; tensors are views of it."""

    key: str
    dtype: np.dtype
    numel: int

    @property
    def num_bytes(self) -> int:
        """Length in the file."""
        return self.numel * self.dtype.itemsize


class TensorView(NamedTuple):
    """A tensor as the pickle describes it, checked against its storage.

    `offset` and `stride` count elements.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Length of its elements."""
        return math.prod(self.size) * self.storage.dtype.itemsize


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign:
    """What a pickle names and this reader does not know: inert, only its name is kept.

    Each equals itself alone.
    """

    name: str

    def __call__(self, *_: Any) -> "Foreign":
        """Stand for the result of a call, which is not made."""
        return Foreign(self.name)


def _as_dict(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    """Make a dict of keys and values.

    Keys other than strings and numbers become foreign: to hash a tuple that holds
    another one twice, and so on a hundred levels down, takes forever.
    """
    return {_as_key(key): value for key, value in pairs}


def _as_key(key: Any) -> Any:
    return key if isinstance(key, str | int) else Foreign(type(key).__name__)


def _parameter(data: Any, *_: Any) -> Any:
    return _require(data, (TensorView, Foreign))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    """Describe a tensor; refuse one that reaches outside its storage."""
    if isinstance(storage, Foreign):
        return storage
    _require(storage, Storage)
    numbers = (offset, *_require(size, tuple), *_require(stride, tuple))
    axes_agree = len(size) == len(stride) <= _MAX_AXES
    if not axes_agree or not all(_is_count(n) for n in numbers):
        raise ValueError("refused: a tensor's offset, size or stride is malformed")
    numel = math.prod(size)
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if numel > storage.numel or (numel and offset + reach >= storage.numel):
        raise ValueError(
            f"refused: a tensor of {len(size)} axes reaches outside its storage "
            f"{storage.key[:80]!r} of {storage.numel} elements"
        )
    return TensorView(storage, offset, size, stride)


def _is_count(value: Any) -> bool:
    """True for a natural number of 63 bits."""
    return type(value) is int and 0 <= value < 2**63


def _require(value: Any, kind: type | tuple[type, ...]) -> Any:
    """Return the value if it is of that kind, else raise `ValueError`."""
    if not isinstance(value, kind):
        raise ValueError(
            f"damaged pickle (a {type(value).__name__} where {kind} is expected)"
        )
    return value


class PickleReader:
    """Reads consecutive pickles from one stream.

    Attributes:
      storages: every storage that a pickle has named so far, by key.
    """

    def __init__(self, stream: io.BytesIO):
        self.storages: dict[str, Storage] = {}
        self._stream = stream
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """Read the next pickle: numbers, strings, containers, tensors, foreign objects.

        Raises:
          ValueError: damaged, or has an instruction that no checkpoint needs.
        """
        self._stack, self._marks, self._memo = [], [], {}
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._execute(opcode.name, argument)
            return self._stack.pop()
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError(f"damaged pickle ({error})") from error

    def _execute(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name not in _IGNORED:
            detail = "" if argument is None else f" ({str(argument)[:80]!r})"
            raise ValueError(
                f"refused: the pickle has the instruction {name}{detail}, which no "
                "checkpoint needs; nothing was run"
            )

    def _global(self, name: str) -> None:
        foreign = Foreign(name.replace(" ", ".")[:80])
        self._stack.append(_GLOBALS.get(name, foreign))

    def _stack_global(self, _: None) -> None:
        name, module = (_require(self._stack.pop(), str) for _ in range(2))
        self._global(f"{module} {name}")

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _pop_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: None) -> None:
        self._put(len(self._memo))

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _tuple(self, _: None) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _short_tuple(self, length: int) -> None:
        items = [self._stack.pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def _set_items(self, _: None) -> None:
        items = self._pop_mark()
        pairs = _as_dict(zip(items[::2], items[1::2], strict=True))
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(pairs)
        else:
            _require(self._stack[-1], Foreign)

    def _set_item(self, _: None) -> None:
        self._marks.append(len(self._stack) - 2)
        self._set_items(None)

    def _append_items(self, _: None) -> None:
        items = self._pop_mark()
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)
        else:
            _require(self._stack[-1], Foreign)

    def _append_item(self, _: None) -> None:
        self._marks.append(len(self._stack) - 1)
        self._append_items(None)

    def _reduce(self, _: None) -> None:
        arguments, build = _require(self._stack.pop(), tuple), self._stack.pop()
        if not callable(build):  # of all that can lie here, only our builders are
            raise ValueError(f"damaged pickle (call of a {type(build).__name__})")
        self._stack.append(build(*arguments))

    def _new_object(self, arguments: int) -> None:
        """An object of a class and so many arguments: foreign, but for a dict."""
        for _ in range(arguments):
            self._stack.pop()
        kind = self._stack.pop()
        is_dict = kind is _as_dict
        self._stack.append({} if is_dict else _require(kind, Foreign)())

    def _old_object(self, _: None) -> None:
        kind, *_arguments = self._pop_mark()
        self._stack.append(_require(kind, Foreign)())

    def _foreign_items(self, kind: str) -> None:
        self._pop_mark()
        self._stack.append(Foreign(kind))

    def _drop_items(self, _: None) -> None:
        self._pop_mark()
        _require(self._stack[-1], Foreign)

    def _build(self, _: None) -> None:
        """Drop the state: an ordered dict's is PyTorch's version metadata."""
        self._stack.pop()
        _require(self._stack[-1], (dict, Foreign))

    def _persistent_id(self, _: None) -> None:
        kind, dtype, *rest = _require(self._stack.pop(), tuple)
        if kind != "storage" or len(rest) < 3 or rest[3:] not in ([], [None]):
            self._stack.append(Foreign("a persistent object that is no whole storage"))
        elif isinstance(dtype, Foreign):
            self._stack.append(dtype)
        else:
            self._stack.append(self._storage(dtype, rest[0], rest[2]))

    def _storage(self, dtype: Any, key: Any, numel: Any) -> Storage:
        if not _is_count(numel):
            raise ValueError("damaged pickle (a storage's size is no natural number)")
        storage = Storage(_require(key, str), _require(dtype, np.dtype), numel)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key[:80]!r} is described in two ways")
        return storage


_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8"),
    }
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Foreign("set"),
}
_INSTRUCTIONS: dict[str, Callable[[PickleReader, Any], Any]] = {
    "GLOBAL": PickleReader._global,
    "STACK_GLOBAL": PickleReader._stack_global,
    "MARK": PickleReader._mark,
    "POP": lambda reader, _: reader._stack.pop(),
    "POP_MARK": lambda reader, _: reader._pop_mark(),
    "BINPUT": PickleReader._put,
    "LONG_BINPUT": PickleReader._put,
    "MEMOIZE": PickleReader._memoize,
    "BINGET": PickleReader._get,
    "LONG_BINGET": PickleReader._get,
    "TUPLE": PickleReader._tuple,
    "TUPLE1": lambda reader, _: reader._short_tuple(1),
    "TUPLE2": lambda reader, _: reader._short_tuple(2),
    "TUPLE3": lambda reader, _: reader._short_tuple(3),
    "SETITEM": PickleReader._set_item,
    "SETITEMS": PickleReader._set_items,
    "APPEND": PickleReader._append_item,
    "APPENDS": PickleReader._append_items,
    "ADDITEMS": PickleReader._drop_items,
    "FROZENSET": lambda reader, _: reader._foreign_items("frozenset"),
    "REDUCE": PickleReader._reduce,
    "NEWOBJ": lambda reader, _: reader._new_object(1),
    "NEWOBJ_EX": lambda reader, _: reader._new_object(2),
    "OBJ": PickleReader._old_object,
    "BUILD": PickleReader._build,
    "BINPERSID": PickleReader._persistent_id,
}
# PyTorch's names of storages, without `Storage`, and NumPy's of their dtypes.
DTYPES = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}
# Storages of elements that NumPy lacks, and the bytes of one: their length is known.
_OPAQUE = {
    "BFloat16": 2,
    "ComplexFloat": 8,
    "ComplexDouble": 16,
    "QInt8": 1,
    "QUInt8": 1,
    "QInt32": 4,
}
_GLOBALS: dict[str, Any] = {
    "collections OrderedDict": _as_dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    **{f"torch {name}Storage": np.dtype(code) for name, code in DTYPES.items()},
    **{
        f"torch {name}Storage": np.dtype([(name, f"V{size}")])
        for name, size in _OPAQUE.items()
    },
}
