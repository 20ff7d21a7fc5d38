"""Whatever lies beside the tensors of a checkpoint is neither run nor in the way."""

import collections
import datetime
import fractions
import io
import pathlib
import pickle
import sys

import numpy as np
import pytest

from logocap_jax.weights.containers import read_arrays

FORMATS = ["zip", "legacy"]
WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}


class _Record:
    """An object with attributes, a slot for anything, and itself in it."""

    def __init__(self, content):
        self.content, self.itself = content, self


def _ordered():
    names = collections.OrderedDict(b=1, a=(2, 3))
    names._metadata = collections.OrderedDict(version=2)
    return names


def _recursive():
    inner: list = []
    inner.append((inner, "again"))
    return inner[0]


METADATA = {
    "NumPy array": np.arange(12, dtype=np.uint8).reshape(4, 3),
    "NumPy scalar": {"best_score": np.float64(0.686)},
    "NumPy objects": np.array([None, {"a": 1}], object),
    "NumPy generator": np.random.default_rng(0),
    "set": {1, "b", (2, 3)},
    "frozenset": frozenset({1, 2}),
    "tuple": ((0, 1), (1, 2)),
    "keys": {(0, 1): "limb", None: 1, 0.5: 2, b"b": 3, frozenset({1}): 4},
    "ordered dict": _ordered(),
    "default dict": collections.defaultdict(list, a=[1]),
    "counter and queue": [collections.Counter("aab"), collections.deque([1], 3)],
    "numbers": [2**70, -(2**3000), 1 + 2j, range(3), fractions.Fraction(1, 3)],
    "bytes": [b"abc", bytearray(b"abc"), slice(1, 2)],
    "time and place": [datetime.datetime(2022, 9, 28), pathlib.PurePosixPath("a/b")],
    "object": _Record({"a": _Record(None)}),
    "function and class": [len, _Record, np.float32],
    "recursive tuple": _recursive(),
}


def _spliced(torch_files, kind, metadata: bytes, protocol=2):
    """A checkpoint with the weights, and metadata as the body of a pickle."""
    data = getattr(torch_files, kind)(WEIGHTS)
    inner = io.BytesIO()
    pickler = pickle.Pickler(inner, 2)
    pickler.dump("state_dict")
    whole = torch_files._pickled(WEIGHTS, 2, legacy=kind == "legacy")[0]
    key = inner.getvalue()[2:-1]
    head = bytes([0x80, protocol]) + b"}X\x04\x00\x00\x00meta" + metadata + b"s"
    wrapped = head + key + whole[2:-1] + b"s."
    if kind == "zip":
        return torch_files.zip(WEIGHTS, **{"data.pkl": wrapped})
    assert data.count(whole) == 1
    return data.replace(whole, wrapped)


def _assert_weights(path):
    arrays = read_arrays(path)
    assert arrays.keys() == WEIGHTS.keys()
    np.testing.assert_array_equal(arrays["a"], WEIGHTS["a"], strict=True)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_any_kind_leaves_the_weights(
    torch_files, write, name, kind, protocol
):
    stream = io.BytesIO()
    pickle.Pickler(stream, protocol).dump(METADATA[name])
    body = stream.getvalue()[2:-1]
    _assert_weights(write(_spliced(torch_files, kind, body, protocol)))


@pytest.mark.parametrize("kind", FORMATS)
def test_training_checkpoint_of_another_framework_is_read(torch_files, write, kind):
    moments = {"step": 3, "exp_avg": np.zeros((2, 3), np.float32)}
    checkpoint = {
        "meta": {"epoch": 140, "seed": None, "links": ((0, 1),), "lrs": [1e-3]},
        "message_hub": {"log": collections.deque([1.0]), "kept": {"loss", "lr"}},
        "optimizer": {"state": {0: moments}, "param_groups": [{"betas": (0.9, 0.9)}]},
        "param_schedulers": [{"last_step": 3, "milestones": collections.Counter(a=1)}],
        "ema_state_dict": {"module.a": np.ones((2, 3), np.float32), "steps": 7},
        "state_dict": WEIGHTS,
    }
    _assert_weights(write(getattr(torch_files, kind)(checkpoint)))


KIND = b"ctorch\nBFloat16Storage\n"
BFLOAT16 = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage" + KIND
    + b"X\x01\x00\x00\x009X\x03\x00\x00\x00cpuK\x03%stQK\x00K\x03\x85K\x01\x85"
    b"\x89ccollections\nOrderedDict\n)RtR"
)  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_elements_that_numpy_lacks_matter_in_weights_alone(torch_files, write, kind):
    tensor = BFLOAT16 % (b"N" if kind == "legacy" else b"")
    data = _spliced(torch_files, kind, tensor)
    if kind == "legacy":
        keys = pickle.dumps(["0"], 2)
        head, tail = data.split(keys)
        data = head + pickle.dumps(["9", "0"], 2)
        data += (3).to_bytes(8, "little") + bytes(6) + tail
    _assert_weights(write(data))
    state = b"\x80\x02}X\x01\x00\x00\x00a" + (BFLOAT16 % b"") + b"s."
    path = write(torch_files.archive({"data.pkl": state}))
    with pytest.raises(ValueError, match="entry 'a' is a tensor of BFloat16"):
        read_arrays(path)


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


ARGUMENT = _text("touch ran; open('ran', 'w')") + b"\x85"
GLOBALS = {
    "system": b"cposix\nsystem\n",
    "eval": b"c__builtin__\neval\n",
    "import": b"chostile_module\nrun\n",
    "stacked": _text("hostile_module") + _text("run") + b"\x93",
    "attribute": b"coperator\nattrgetter\n",
    "torch": b"ctorch.storage\n_load_from_bytes\n",
}
CALLS = {
    "call": b"%s" + ARGUMENT + b"R",
    "new": b"%s" + ARGUMENT + b"\x81",
    "new with names": b"%s" + ARGUMENT + b"}\x92",
    "old": b"(%s" + ARGUMENT[:-1] + b"o",
    "call of a result": b"%s" + ARGUMENT + b"R" + ARGUMENT + b"R",
    "state": b"%s)\x81}" + _text("__setstate__") + b"K\x01sb",
    "items": b"%s)R" + _text("__reduce__") + b"K\x01s(K\x01e",
}
PLACES = {
    "value": b"%s",
    "list": b"](%se",
    "tuple": b"%s\x85",
    "key": b"}%sK\x01s",
    "set": b"\x8f(%s\x90",
    "attributes of a dict": b"ccollections\nOrderedDict\n)R}" + _text("a") + b"%ssb",
    "argument of an array": b"cnumpy.core.multiarray\n_reconstruct\n%s\x85R",
    "state of an object": b"cmmengine\nConfig\n)\x81%sb",
}
HOSTILE = [
    (place, call, name) for place in PLACES for call in CALLS for name in GLOBALS
]


@pytest.fixture
def hostile_module(tmp_path, monkeypatch):
    """A module that leaves a mark where it is imported; the mark's path."""
    mark = tmp_path / "ran"
    source = f"open({str(mark)!r}, 'w')\ndef run(*_): pass\n"
    (tmp_path / "hostile_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield mark
    assert "hostile_module" not in sys.modules


@pytest.mark.row("weights")
@pytest.mark.parametrize("kind", FORMATS)
def test_hostile_metadata_is_inert(
    torch_files, write, hostile_module, kind, record_property
):
    record_property("cases", len(HOSTILE))
    for place, call, name in HOSTILE:
        body = PLACES[place].replace(b"%s", CALLS[call].replace(b"%s", GLOBALS[name]))
        _assert_weights(write(_spliced(torch_files, kind, body)))
        assert not hostile_module.exists(), (place, call, name)


@pytest.mark.row("weights")
@pytest.mark.parametrize("name", GLOBALS)
@pytest.mark.parametrize("call", CALLS)
def test_hostile_tensor_is_refused_by_name(
    torch_files, write, hostile_module, call, name
):
    made = CALLS[call].replace(b"%s", GLOBALS[name])
    program = b"\x80\x02}" + _text("a") + made + b"s."
    path = write(torch_files.archive({"data.pkl": program}))
    with pytest.raises(ValueError, match=r"entry 'a' is '.*; nothing was run"):
        read_arrays(path)
    assert not hostile_module.exists()
