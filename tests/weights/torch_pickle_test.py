"""Pickles that ask for more than a state dict needs are refused; nothing is run."""

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
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced


@pytest.mark.row("weights")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "function",
    [os.system, eval, np.float64, io.BytesIO, pathlib.PurePosixPath],
    ids=lambda function: function.__name__,
)
def test_unexpected_global_is_refused_by_name_and_not_run(
    torch_files, write, tmp_path, protocol, kind, function
):
    marker = tmp_path / "ran"
    call = _Call(function, f"touch {marker}")
    pickled = getattr(torch_files, kind)(call, protocol=protocol)
    # Pickle takes the module that defines it, which differs between Pythons.
    name = f"{function.__module__}.{function.__name__}"
    if protocol < 3:
        name = name.replace("builtins", "__builtin__")
    with pytest.raises(ValueError, match=rf"weights.pth: refused: .*'{name}'"):
        read_arrays(write(pickled))
    assert not marker.exists()


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
        (F + b"\x81.", "instruction NEWOBJ"),
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
        (b"}])s.", "key|where"),
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
        (b"}" + STORAGE + b"K\x01tQ0.", "instruction POP"),
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
def test_key_that_takes_forever_to_hash_is_refused_at_once(torch_files, write):
    nested = ()
    for _ in range(100):
        nested = (nested, nested)
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 2)
    pickler.dump(nested)
    program = b"\x80\x02}" + stream.getvalue()[2:-1] + b"K\x01s."
    path = write(torch_files.archive({"data.pkl": program}))
    with pytest.raises(ValueError, match="a tuple where"):
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
