"""Genuine files are read exactly, damaged ones refused in one line; written as read."""

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from logocap_jax.weights.containers import read_arrays
from logocap_jax.weights.torch_files import write_zip

FORMATS = ["zip", "legacy"]


def _assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for key, array in expected.items():
        assert arrays[key].dtype == array.dtype
        assert arrays[key].shape == array.shape
        assert arrays[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", FORMATS)
def test_state_dict_is_read_bit_for_bit(torch_files, write, kind, protocol):
    rng = np.random.default_rng(0)
    state = OrderedDict(
        weight=rng.standard_normal((4, 3, 2, 2), np.float32),
        bias=np.array([np.nan, -0.0, np.inf]),
        half=rng.standard_normal(5).astype(np.float16),
        count=np.array(7, np.int64),
        flags=np.array([True, False]),
        octets=np.arange(3, dtype=np.uint8),
        empty=np.zeros((0, 3), np.float32),
    )
    state._metadata = OrderedDict(version=1)  # as `state_dict()` has it
    path = write(getattr(torch_files, kind)(state, protocol=protocol))
    _assert_same(read_arrays(path), state)


@pytest.mark.parametrize("kind", FORMATS)
def test_views_of_one_storage_are_cut_out_of_it(torch_files, write, kind):
    data = np.arange(12, dtype=np.float32)

    def view(offset, size, stride):
        return torch_files.Tensor(data, offset, size, stride, key="0")

    state = {
        "all": view(0, (12,), (1,)),
        "transposed": view(0, (4, 3), (1, 4)),
        "window": view(5, (2, 2), (4, 2)),
        "scalar": view(11, (), ()),
    }
    arrays = read_arrays(write(getattr(torch_files, kind)(state)))
    grid = data.reshape(3, 4)
    expected = {
        "all": data,
        "transposed": grid.T,
        "window": grid[1:, 1::2],
        "scalar": np.float32(11),
    }
    _assert_same(arrays, expected)
    arrays["all"][0] = 5  # arrays own their memory
    assert arrays["transposed"][0, 0] == 0


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_training_checkpoint_is_unwrapped(torch_files, write, kind, name):
    state = {"a": np.ones(2, np.float32)}
    moments = {"state": {0: {"step": 3, "exp_avg": np.zeros(2, np.float32)}}}
    checkpoint = {
        "epoch": 3,
        "best": 0.5,
        "big": 2**40,
        "done": True,
        "note": None,
        "lrs": [1, 2],
        "optimizer": moments,
        name: state,
    }
    _assert_same(read_arrays(write(getattr(torch_files, kind)(checkpoint))), state)


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
def test_storage_of_another_size_than_the_pickle_says_is_refused(
    torch_files, write, kind
):
    tensor = torch_files.Tensor(np.ones(4, np.float32), numel=5)
    with pytest.raises(ValueError, match=r"has .* expected"):
        read_arrays(write(getattr(torch_files, kind)({"a": tensor})))


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_or_storages_above_the_cap_are_refused(torch_files, write, kind):
    tensor = torch_files.Tensor(np.ones(100, np.float32), 0, (1,), (1,), key="0")
    state = {"one": tensor}
    path = write(getattr(torch_files, kind)(state))
    assert read_arrays(path, max_bytes=400)["one"].shape == (1,)
    with pytest.raises(ValueError, match="storages of 400 bytes, expected at most 399"):
        read_arrays(path, max_bytes=399)
    copies = {str(i): tensor._replace(size=(100,)) for i in range(3)}
    with pytest.raises(ValueError, match="tensors of 1200 bytes"):
        read_arrays(write(getattr(torch_files, kind)(copies)), max_bytes=1199)


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("root", "message"),
    [
        ([1], "holds a list"),
        (
            {"epoch": 3},
            "entry 'epoch' is a int, expected a plain tensor, or a state dict",
        ),
        ({"state_dict": {"a": "b"}}, "entry 'a' is a str"),
        ({3: np.ones(1, np.float32)}, "entry '3' is a TensorView"),
    ],
)
def test_file_without_a_state_dict_is_refused(torch_files, write, kind, root, message):
    with pytest.raises(ValueError, match=message):
        read_arrays(write(getattr(torch_files, kind)(root)))


@pytest.mark.row("weights")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"data/0": None}, "member 'weights/data/0' is absent"),
        ({"data/0": b"1234"}, "has 4 bytes, expected 8"),
        ({"byteorder": b"big"}, "not little-endian"),
        ({"data.pkl": None}, "got 0 members data.pkl"),
        ({"more/data.pkl": b""}, "got 2 members data.pkl"),
        ({"data.pkl": bytes(65 << 20)}, "expected at most 67108864"),
    ],
)
def test_damaged_archive_is_refused(torch_files, write, members, message):
    path = write(torch_files.zip({"a": np.ones(2, np.float32)}, **members))
    with pytest.raises(ValueError, match=message):
        read_arrays(path)


@pytest.mark.row("weights")
def test_compressed_archive_is_refused(torch_files, write):
    parts = {"data.pkl": b"\x80\x02}."}
    path = write(torch_files.archive(parts, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="compressed or encrypted"):
        read_arrays(path)


@pytest.mark.row("weights")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": {"little_endian": False}}, "not little-endian"),
        ({"keys": []}, "storage '0' is absent"),
        ({"keys": ["0", "1"]}, "a storage of no known tensor"),
        ({"keys": [["0"]]}, "a storage of no known tensor"),
        ({"keys": {}}, "the list of storages is absent"),
    ],
)
def test_damaged_legacy_file_is_refused(torch_files, write, changes, message):
    path = write(torch_files.legacy({"a": np.ones(2, np.float32)}, **changes))
    with pytest.raises(ValueError, match=message):
        read_arrays(path)


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
def test_every_truncation_is_refused(torch_files, write, kind, record_property):
    data = getattr(torch_files, kind)({"a": np.arange(40, dtype=np.float32)})
    record_property("cases", len(data))
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"weights.pth: ."):
            read_arrays(write(data[:length]))


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
def test_changed_bytes_are_refused_or_give_arrays_of_the_same_kind(
    torch_files, write, kind, record_property
):
    record_property("cases", 400)
    state = {f"layer.{i}.weight": np.ones((3, i), np.float32) for i in range(1, 4)}
    data = getattr(torch_files, kind)(state)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        changed = bytearray(data)
        changed[rng.integers(len(data))] = rng.integers(256)
        try:
            arrays = read_arrays(write(bytes(changed)))
        except ValueError:
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert refused > 40


@pytest.mark.row("weights")
def test_changed_weight_in_an_archive_is_noticed_by_its_checksum(torch_files, write):
    data = torch_files.zip({"a": np.full(8, 1.5, np.float32)})
    value = np.float32(1.5).tobytes()
    assert data.count(value) == 8
    with pytest.raises(ValueError, match="CRC"):
        read_arrays(write(data.replace(value, np.float32(2.5).tobytes(), 1)))


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
