"""Hypothesis strategies: good content, spoiled a little, so that most of it is read."""

import copy
from typing import Any

from hypothesis import strategies as st

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 10**30, 1e300, -1e-300, 1e999]),
    st.integers(),
    st.floats(),
    st.sampled_from(["", ".", "..", "/", "../x", "a\\b", "\x00", "a\nb", "x" * 2000]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    max_leaves=6,
)


@st.composite
def spoiled_json(draw: st.DrawFn, content: Any) -> Any:
    """A copy in which up to three entries are replaced, dropped or doubled."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        _spoil_one(draw, content)
    return content


def _spoil_one(draw: st.DrawFn, content: Any) -> None:
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or draw(st.integers(0, 4)) == 0:
            break
        place = inner
    match draw(st.sampled_from(["replace", "drop", "double"])):
        case "replace":
            place[key] = draw(VALUES)
        case "drop":
            del place[key]
        case "double" if isinstance(place, list):
            place.append(copy.deepcopy(inner))


@st.composite
def spoiled_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A copy with up to four bits flipped, pieces cut, zeroed, doubled or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(start + draw(st.integers(0, 40)), len(content))
        piece = content[start:end]
        match draw(st.sampled_from(["flip", "cut", "end", "zero", "double", "put"])):
            case "flip" if piece:
                piece = bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + piece[1:]
            case "cut":
                piece = b""
            case "end":
                end = len(content)
                piece = b""
            case "zero":
                piece = bytes(len(piece))
            case "double":
                piece += piece
            case "put":
                piece = draw(st.binary(max_size=12))
        content = content[:start] + piece + content[end:]
    return content
