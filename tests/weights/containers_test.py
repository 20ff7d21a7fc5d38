import io
import json
import os
import zipfile
import zlib

import numpy as np
import pytest
from safetensors.numpy import save

from logocap_jax.weights.containers import read_arrays

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(3, np.int64),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def _npz(arrays, save=np.savez):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def _npy_in_zip(header, data=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.npy", stream.getvalue() + data)
    return archive.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read_whatever_its_name(write, save):
    arrays = read_arrays(write(_npz(ARRAYS, save), "weights.bin"))
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
        assert arrays[name].flags.c_contiguous


def test_safetensors_is_read_whatever_its_name(write):
    arrays = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}
    read = read_arrays(write(save(arrays), "weights.bin"))
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def _header(shape, descr="<f4"):
    return {"descr": descr, "fortran_order": False, "shape": shape}


@pytest.mark.row("weights")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_npz({"a": np.array([{}])}), "expected numbers"),
        (_npz({"a": np.array(["x"])}), "expected numbers"),
        (_npz({"a": np.zeros(2, [("x", "f4")])}), "expected numbers"),
        (_npy_in_zip(_header((2**40,))), "0 bytes of float32, expected"),
        (_npy_in_zip(_header((-2, -2)), bytes(16)), "unknown dimension"),
        (_npz(ARRAYS)[:-30], "zip"),
        (_npz(ARRAYS)[:200], "zip"),
        (save({"a": np.ones(9)})[:-1], "metadata|incomplete"),
        (save({"a": np.ones(9)})[:40], "invalid header"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{]", "invalid JSON"),
        (b"", "neither"),
        (b"#!/bin/sh\nrm -rf .", "neither"),
        (b"\x80\x02K\x05.", "not one that torch.save wrote"),
    ],
)
def test_damaged_or_foreign_file_is_refused_by_name(write, data, message):
    with pytest.raises(ValueError, match=f"weights.npz: .*({message})") as caught:
        read_arrays(write(data, "weights.npz"))
    assert "\n" not in str(caught.value)


@pytest.mark.row("weights")
def test_safetensors_header_that_reaches_outside_the_file_is_refused(write):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]}
    header = json.dumps({"a": entry}).encode()
    with pytest.raises(ValueError, match=r"weights\.pth: "):
        read_arrays(write(len(header).to_bytes(8, "little") + header + bytes(16)))


@pytest.mark.row("weights")
def test_decompression_bomb_is_refused_before_it_is_read(write):
    data = _npz({"a": np.zeros(1 << 20, np.uint8)}, np.savez_compressed)
    assert len(data) < 1 << 14
    with pytest.raises(ValueError, match="expected at most 1000000"):
        read_arrays(write(data), max_bytes=1_000_000)


@pytest.mark.row("weights")
def test_safetensors_above_the_cap_is_refused(write):
    with pytest.raises(ValueError, match="expected at most 1000"):
        read_arrays(write(save({"a": np.zeros(1000)})), max_bytes=1000)


@pytest.mark.row("weights")
def test_array_header_that_python_cannot_read_is_refused(write):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        header = b"{'descr': '<f4', 'f" + b" " * 98 + b"\n"
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + bytes([118, 0]) + header)
    with pytest.raises(ValueError, match=r"file\.npz: "):
        read_arrays(write(stream.getvalue(), "file.npz"))


@pytest.mark.row("weights")
def test_archive_that_holds_less_of_a_storage_than_it_lists_is_refused(
    write, torch_files
):
    data = bytearray(torch_files.zip({"a": np.arange(4, dtype=np.float32)}))
    entry = data.index(b"weights/data/0", data.index(b"PK\x01\x02")) - 46
    shorter = np.arange(3, dtype=np.float32).tobytes()
    data[entry + 16 : entry + 20] = zlib.crc32(shorter).to_bytes(4, "little")
    data[entry + 20 : entry + 24] = len(shorter).to_bytes(4, "little")
    with pytest.raises(ValueError, match="'0' has 12 bytes, expected 16"):
        read_arrays(write(bytes(data), "file.pth"))


@pytest.mark.row("weights")
def test_name_that_would_drive_the_terminal_is_refused(write):
    data = save({"a\x1b[2J": np.ones(1)})
    with pytest.raises(ValueError, match="has control characters") as caught:
        read_arrays(write(data))
    assert str(caught.value).isprintable()


@pytest.mark.row("weights")
def test_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        read_arrays(tmp_path / "pipe")


def test_absent_file_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent")
