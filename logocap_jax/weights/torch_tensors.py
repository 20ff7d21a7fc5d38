"""The few objects that a state dict's pickle may name, as plain descriptions."""

import math
from collections.abc import Iterable
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


def as_dict(pairs: Iterable[Any] = ()) -> dict[str | int, Any]:
    """A dict of keys and values.

    Keys are strings or numbers: to hash a tuple that holds another one twice, and so
    on a hundred levels down, takes forever.

    Raises:
      ValueError: a key of another type.
    """
    return {require(key, (str, int)): value for key, value in pairs}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorView:
    """Describe a tensor.

    Raises:
      ValueError: it reaches outside its storage, or has more elements than that.
    """
    require(storage, Storage)
    numbers = (offset, *require(size, tuple), *require(stride, tuple))
    axes_agree = len(size) == len(stride) <= _MAX_AXES
    if not axes_agree or not all(is_count(n) for n in numbers):
        raise ValueError("refused: a tensor's offset, size or stride is malformed")
    numel = math.prod(size)
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if numel > storage.numel or (numel and offset + reach >= storage.numel):
        raise ValueError(
            f"refused: a tensor of {len(size)} axes reaches outside its storage "
            f"{storage.key[:80]!r} of {storage.numel} elements"
        )
    return TensorView(storage, offset, size, stride)


def _parameter(data: Any, *_: Any) -> TensorView:
    return require(data, TensorView)


def is_count(value: Any) -> bool:
    """Whether the value is a natural number of 63 bits."""
    return type(value) is int and 0 <= value < 2**63


def require(value: Any, kind: type | tuple[type, ...]) -> Any:
    """The value itself, if it is of that kind.

    Raises:
      ValueError: it is not.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"damaged pickle (a {type(value).__name__} where {kind} is expected)"
        )
    return value


_DTYPES = {
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
GLOBALS: dict[str, Any] = {
    "collections OrderedDict": as_dict,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    **{f"torch {name}Storage": np.dtype(code) for name, code in _DTYPES.items()},
}
