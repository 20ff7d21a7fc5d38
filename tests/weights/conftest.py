"""Weights of all kinds, and files as `torch.save` writes them, made without PyTorch."""

import io
import json
import pathlib
import pickle
import sys
import types
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from logocap_jax.weights.files import to_variables

State = dict[str, np.ndarray]


class Tensor(NamedTuple):
    """What a pickle says of a tensor, true or not."""

    data: np.ndarray
    offset: Any = 0
    size: Any = None
    stride: Any = None
    numel: Any = None
    key: str | None = None


class _Storage(NamedTuple):
    kind: Any
    key: str
    numel: Any


class _Pickler(pickle.Pickler):
    """Pickles arrays and `Tensor`s as `torch.save` does tensors."""

    def __init__(self, stream: io.BytesIO, protocol: int, legacy: bool):
        super().__init__(stream, protocol)
        self.storages: dict[str, np.ndarray] = {}
        self._legacy = legacy

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        view = (None,) if self._legacy else ()
        return ("storage", obj.kind, obj.key, "cpu", obj.numel, *view)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            obj = Tensor(obj)
        if not isinstance(obj, Tensor):
            return NotImplemented
        key = obj.key or str(len(self.storages))
        data = np.ascontiguousarray(obj.data)
        self.storages[key] = data
        kind = getattr(sys.modules["torch"], _KINDS[data.dtype])
        numel = data.size if obj.numel is None else obj.numel
        size = obj.data.shape if obj.size is None else obj.size
        stride = obj.stride
        if stride is None:
            stride = tuple(np.empty(size, np.uint8).strides)
        storage = _Storage(kind, key, numel)
        arguments = (storage, obj.offset, size, stride, False, OrderedDict())
        return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments


_KINDS = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}


class TorchFiles:
    """Writes what `torch.save` would."""

    Tensor = Tensor

    def zip(self, obj: Any, *, protocol: int = 2, **members: bytes | None) -> bytes:
        """The zip format; `members` replace or (None) leave out parts of it."""
        pickled, storages = self._pickled(obj, protocol, legacy=False)
        parts: dict[str, bytes | None] = {
            "data.pkl": pickled,
            "byteorder": b"little",
            **{f"data/{key}": array.tobytes() for key, array in storages.items()},
            "version": b"3\n",
        }
        return self.archive({**parts, **members})

    def archive(
        self, parts: Mapping[str, bytes | None], compression: int = zipfile.ZIP_STORED
    ) -> bytes:
        """A zip archive of any members."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for name, data in parts.items():
                if data is not None:
                    archive.writestr(f"weights/{name}", data)
        return stream.getvalue()

    def legacy(
        self, obj: Any, *, protocol: int = 2, system: Any = None, keys: Any = None
    ) -> bytes:
        """The format from before PyTorch 1.6."""
        pickled, storages = self._pickled(obj, protocol, legacy=True)
        system = {"protocol_version": 1001, "little_endian": True} | (system or {})
        head = [0x1950A86A20F9469CFC6C, 1001, system]
        parts = [pickle.dumps(part, 2) for part in head]
        parts += [pickled, pickle.dumps(sorted(storages) if keys is None else keys, 2)]
        for key in sorted(storages):
            data = storages[key]
            parts += [data.size.to_bytes(8, "little"), data.tobytes()]
        return b"".join(parts)

    def _pickled(
        self, obj: Any, protocol: int, legacy: bool
    ) -> tuple[bytes, dict[str, np.ndarray]]:
        stream = io.BytesIO()
        pickler = _Pickler(stream, protocol, legacy)
        pickler.dump(obj)
        return stream.getvalue(), pickler.storages


@pytest.fixture
def torch_files(monkeypatch: pytest.MonkeyPatch) -> TorchFiles:
    """A writer; for `pickle` to name PyTorch's objects, empty modules stand in."""

    def _rebuild_tensor_v2() -> None: ...

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for kind in _KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return TorchFiles()


@pytest.fixture
def write(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Write bytes to a file."""

    def write_bytes(data: bytes, name: str = "weights.pth") -> pathlib.Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_bytes


@pytest.fixture(scope="session")
def tiny_state(parity_dir: pathlib.Path) -> State:
    """The small LOGO-CAP's state dict."""
    with np.load(parity_dir / "tiny" / "weights.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def tiny_variables(tiny_state: State) -> dict[str, Any]:
    """The same as variables."""
    return to_variables(tiny_state)[0]


@pytest.fixture(scope="session")
def small_settings() -> dict[str, Any]:
    """Of a net whose shapes are found fast."""
    backbone = {"channels": 4, "stem_channels": 4, "layer1_channels": 4}
    backbone |= {"layer1_blocks": 1, "modules": (1, 0, 0), "blocks": 1}
    return {"backbone": backbone, "heatmap_hidden": 4, "offset_hidden": 4}


@pytest.fixture(scope="session")
def manifests(parity_dir: pathlib.Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Key -> shape of the released checkpoints."""
    shapes = {}
    for name in ("w32", "w48"):
        text = (parity_dir / name / "state_dict_manifest.json").read_text()
        shapes[name] = {key: tuple(shape) for key, shape, _ in json.loads(text)}
    return shapes


@pytest.fixture(scope="session")
def w32_state(manifests: dict[str, dict[str, tuple[int, ...]]]) -> State:
    """A state dict of full size, filled by a rule."""
    state: State = {}
    for key, shape in manifests["w32"].items():
        if key.endswith("num_batches_tracked"):
            state[key] = np.zeros(shape, np.int64)
        else:
            rng = np.random.default_rng(zlib.crc32(key.encode()))
            state[key] = rng.random(shape, np.float32)
    return state
