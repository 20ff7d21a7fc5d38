import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from logocap_jax.weights.torch_writer import write_zip

from logocap_jax.weights.containers import read_arrays

STATE = {
    "grid": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "view": np.arange(6.0)[::2],
    "half": np.ones((2, 1), np.float16),
    "count": np.array(2**40, np.int64),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}


def test_written_file_is_read_back_bit_for_bit(tmp_path):
    write_zip(tmp_path / "a.pth", STATE)
    arrays = read_arrays(tmp_path / "a.pth")
    assert list(arrays) == list(STATE)
    for key, array in STATE.items():
        np.testing.assert_array_equal(arrays[key], array, strict=True)


class _Unpickler(pickle.Unpickler):
    """The standard library's, which tells what it is asked to call."""

    def find_class(self, module, name):
        if module == "collections":
            return OrderedDict
        return lambda *arguments: (f"{module}.{name}", *arguments)

    def persistent_load(self, pid):
        kind, storage, *rest = pid
        return (kind, storage()[0], *rest)


def test_standard_unpickler_sees_the_calls_that_torch_load_expects(tmp_path):
    write_zip(tmp_path / "a.pth", {key: STATE[key] for key in ("grid", "count")})
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        state = _Unpickler(archive.open("archive/data.pkl")).load()
    rebuild, unused = "torch._utils._rebuild_tensor_v2", (False, OrderedDict())
    grid = ("storage", "torch.FloatStorage", "0", "cpu", 24)
    count = ("storage", "torch.LongStorage", "1", "cpu", 1)
    assert isinstance(state, OrderedDict)
    assert state == {
        "grid": (rebuild, grid, 0, (2, 3, 4), (12, 4, 1), *unused),
        "count": (rebuild, count, 0, (), (), *unused),
    }


def test_same_weights_give_the_same_bytes(tmp_path):
    for name in ("a.pth", "b.pth"):
        write_zip(tmp_path / name, STATE)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_members_are_stored_under_one_folder_as_torch_load_expects(tmp_path):
    write_zip(tmp_path / "a.pth", STATE)
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        members = {info.filename: info for info in archive.infolist()}
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
        assert archive.read("archive/data/0") == STATE["grid"].tobytes()
    assert {info.compress_type for info in members.values()} == {zipfile.ZIP_STORED}


def test_dtype_unknown_to_torch_is_refused_by_key(tmp_path):
    with pytest.raises(ValueError, match="a: got dtype complex64, expected one of"):
        write_zip(tmp_path / "a.pth", {"a": np.ones(1, np.complex64)})
