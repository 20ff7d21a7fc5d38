"""Pickles that ask for more than a state dict needs are refused; nothing is run."""

import collections
import datetime
import io
import os
import pathlib
import pickle
import tracemalloc

import numpy as np
import pytest

from logocap_jax.weights.containers import read_arrays

FORMATS = ["zip", "legacy"]


class _Call:
    """Pickles as the call of a function, or as given."""

    def __init__(self, function, *arguments, reduced=None):
        self._reduced = reduced or (function, arguments)

    def __reduce__(self):
        return self._reduced


HOSTILE = pytest.mark.parametrize(
    "function",
    [os.system, eval, np.float64, io.BytesIO, pathlib.PurePosixPath],
    ids=lambda function: function.__name__,
)


@pytest.mark.row("weights")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", FORMATS)
@HOSTILE
def test_a_call_in_place_of_tensors_is_refused_and_not_run(
    torch_files, write, tmp_path, protocol, kind, function
):
    marker = tmp_path / "ran"
    call = _Call(function, f"touch {marker}")
    # Pickle takes the module that defines it, which differs between Pythons.
    name = f"{function.__module__}.{function.__name__}"
    if protocol < 3:
        name = name.replace("builtins", "__builtin__")
    refused = (
        f"(refused: .*instruction|.*is '{name}'|holds '{name}').*; nothing was run"
    )
    for root in (call, {"a": call}, {"state_dict": {"a": call}}):
        pickled = getattr(torch_files, kind)(root, protocol=protocol)
        with pytest.raises(ValueError, match=rf"weights.pth: {refused}"):
            read_arrays(write(pickled))
    assert not marker.exists()


@pytest.mark.row("weights")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", FORMATS)
@HOSTILE
def test_a_call_beside_the_tensors_is_inert(
    torch_files, write, tmp_path, protocol, kind, function
):
    marker = tmp_path / "ran"
    call = _Call(function, f"touch {marker}")
    array = np.arange(6, dtype=np.float32)
    root = {"meta": [call, {call}], "state_dict": {"a": torch_files.Tensor(array)}}
    found = read_arrays(write(getattr(torch_files, kind)(root, protocol=protocol)))
    np.testing.assert_array_equal(found["a"], array)
    assert not marker.exists()


class _Settings:
    """An object with state, and one that is its own part."""

    def __init__(self):
        self.rate, self.me = 0.1, [self]


METADATA = {
    "array": _Call(None, reduced=np.eye(3).__reduce__()),
    "strings": _Call(None, reduced=np.array(["a", "b"]).__reduce__()),
    "scalar": np.float64(0.5),
    "dtype": np.dtype("float32"),
    "set": {1, "b", (2, 3)},
    "frozen": frozenset({1}),
    "tuple": ((1, 2), [], {}),
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("hello"),
    "queue": collections.deque([1, 2], maxlen=3),
    "odd keys": {(1, 2): 3, None: 4, 0.5: 5, b"x": 6, True: 7},
    "bytes": b"abc",
    "date": datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC),
    "path": pathlib.PurePosixPath("a"),
    "object": _Settings(),
    "class": _Settings,
    "complex": 1 + 2j,
    "range": range(3),
    "slice": slice(1, 2),
    "none": None,
    "large": 2**100,
}


@pytest.mark.row("weights")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", METADATA)
def test_objects_beside_the_tensors_are_passed_over(
    torch_files, write, protocol, kind, name
):
    array = np.arange(6, dtype=np.float32)
    root = {
        "meta": {name: METADATA[name]},
        "state_dict": collections.OrderedDict(a=torch_files.Tensor(array)),
        "ema_state_dict": {"module.a": torch_files.Tensor(array * 3), "steps": 7},
        "optimizer": {"state": {0: {"moment": torch_files.Tensor(array * 2)}}},
        "message_hub": METADATA["object"],
    }
    found = read_arrays(write(getattr(torch_files, kind)(root, protocol=protocol)))
    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], array)


# Pickles by hand; F and T name the two allowed functions.
F, T = b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"
KIND = b"ctorch\nFloatStorage\n"
STORAGE = b"(X\x07\x00\x00\x00storage" + KIND + b"X\x01\x00\x00\x000X\x00\x00\x00\x00"
FORGED = STORAGE.replace(KIND, b"X\x02\x00\x00\x00|O")  # of Python objects


@pytest.mark.row("weights")
@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"}.", None),
        (b"}r\xff\xff\xff\x7f.", None),  # a memo index of 2**31 costs no memory
        (b"", "pickle"),
        (b"}", "pickle"),
        (b".", "damaged"),
        (b"t.", "damaged"),
        (b"h\x05.", "damaged"),
        (b"\xff.", "opcode"),
        (b"K\x05.", "holds a int"),
        (b"F1.5\n.", "instruction FLOAT"),
        (b"iposix\nsystem\n.", "instruction INST .'posix system'"),
        (b"\x82\x01.", "instruction EXT1"),
        (F + b"\x81.", "damaged"),
        (F + b")\x81.", None),
        (b"cos\nsystem\n)\x81.", "holds 'os.system'"),
        (b"cos\nsystem\n)}\x92.", "holds 'os.system'"),
        (b"K\x01)\x81.", "a int where"),
        (b"\x8f(K\x01\x90.", "holds 'set'"),
        (b"}(K\x01\x90.", "a dict where"),
        (b"(K\x01\x91.", "holds 'frozenset'"),
        (b"cos\nsystem\n(K\x01K\x02u.", "holds 'os.system'"),
        (b"cos\nsystem\n(K\x01e.", "holds 'os.system'"),
        (b"cos\nsystem\nK\x01b.", "holds 'os.system'"),
        (b"\x96" + b"\xff" * 7 + b"\x7f.", "bytearray8"),
        (b"\x8d" + b"\xff" * 7 + b"\x7f.", "binunicode8|instruction|expected"),
        (b"X\xff\xff\xff\x7fabc.", "binunicode|expected"),
        (F + b"}X\x01\x00\x00\x00aK\x01sb.", "a function where"),  # set attributes
        (F + b")R}X\x04\x00\x00\x00keysK\x01sb.", None),  # of a dict: dropped
        (F + b"K\x05\x85R.", "damaged"),
        (b"K\x05)R.", "call of a int"),
        (T + b")R.", "damaged"),
        (T + b"(K\x01K\x00))tR.", "a int where"),
        (b"}K\x01.", "holds a int"),
        (b"}])s.", "Foreign"),
        (b"K\x01K\x01K\x01s.", "where"),
        (b"K\x01(K\x01u.", "shorter|longer|where"),
        (b"K\x01(K\x01e.", "where"),
        (b"K\x01K\x01a.", "where"),
        (b"K\x01Q.", "where"),
        (STORAGE.replace(b"storage", b"modules") + b"K\x01tQ.", "no whole storage"),
        (STORAGE + b"J\xff\xff\xff\xfftQ.", "natural"),
        (STORAGE + b"X\x01\x00\x00\x001tQ.", "natural"),
        (STORAGE + b"K\x01K\x07tQ.", "no whole storage"),
        (FORGED + b"K\x01tQ.", "a str where"),
        (b"}" + STORAGE + b"K\x01tQ0.", None),
        (STORAGE + b"K\x01tQ" + STORAGE + b"K\x02tQ\x86.", "described in two ways"),
    ],
)
def test_hand_made_pickle_is_carried_out_or_refused(
    torch_files, write, program, message
):
    path = write(torch_files.archive({"data.pkl": b"\x80\x02" + program}))
    tracemalloc.start()
    try:
        if message is None:
            assert read_arrays(path) == {}
        else:
            with pytest.raises(ValueError, match=rf"weights.pth: .*({message})"):
                read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.row("weights")
def test_key_that_takes_forever_to_hash_is_not_hashed(torch_files, write):
    nested = ()
    for _ in range(100):
        nested = (nested, nested)
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 2)
    pickler.dump(nested)
    program = b"\x80\x02}" + stream.getvalue()[2:-1] + b"K\x01s."
    path = write(torch_files.archive({"data.pkl": program}))
    with pytest.raises(ValueError, match=r"entry .*'tuple'.* is a int"):
        read_arrays(path)


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (1, (12,), (1,), "outside"),
        (12, (), (), "outside"),
        (0, (13,), (1,), "outside"),
        (0, (2, 2), (11, 1), "outside"),
        (0, (2,), (2**62,), "outside"),
        (0, (2**40, 2**40), (0, 0), "outside"),  # a broadcast of one element
        (0, (13, 1), (0, 0), "outside"),
        (-1, (2,), (1,), "malformed"),
        (0, (-2,), (1,), "malformed"),
        (11, (2,), (-1,), "malformed"),
        (0, (2,), (1, 1), "malformed"),
        (0, (1,) * 9, (1,) * 9, "malformed"),
        (0, (2**70,), (1,), "malformed"),
        (0, (1,), (2**63,), "malformed"),
        (True, (1,), (1,), "malformed"),
        (0.0, (1,), (1,), "malformed"),
        (0, [2], [1], "a list where"),
    ],
)
def test_tensor_outside_its_storage_is_refused(
    torch_files, write, kind, offset, size, stride, message
):
    tensor = torch_files.Tensor(np.arange(12, dtype=np.float32), offset, size, stride)
    path = write(getattr(torch_files, kind)({"a": tensor}))
    with pytest.raises(ValueError, match=f"weights.pth: .*{message}"):
        read_arrays(path)
