"""Exported models: the JSON beside them, and how to run them."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.export
import numpy as np
from jaxtyping import Array

from logocap_jax.evaluation.results import write_json
from logocap_jax.predictor.compiled import Model, RunFn
from logocap_jax.predictor.inputs import Fit, by_short_side, letterbox
from logocap_jax.skeletons import Skeleton, parse_skeleton
from logocap_jax.structures import Poses, View

FORMAT = "logocap-jax export"
FORMAT_VERSION = 3

# An axis is a number, or the name of a dynamic one, such as `batch` or `64*height`.
Axis: TypeAlias = int | str


@dataclasses.dataclass(frozen=True)
class ArrayInfo:
    """An input or output array."""

    name: str  #: its name
    shape: tuple[Axis, ...]  #: its axes
    dtype: str  #: its dtype
    meaning: str  #: content, unit and frame


@dataclasses.dataclass(frozen=True)
class ExportInfo:
    """The description of an exported model."""

    what: str  #: `full` (images to poses) or `dense` (images to maps)
    file_format: str  #: `stablehlo` or `onnx`
    platforms: tuple[str, ...]  #: of StableHLO, in JAX's words: `cpu`, `cuda`, `tpu`
    #: The one array that goes in: `[batch, height, width, 3]`.
    inputs: tuple[ArrayInfo, ...]
    outputs: tuple[ArrayInfo, ...]  #: the arrays that come out, a dict by name
    size_multiple: int  #: height and width are multiples of it
    size_rounding: str  #: as of `InputSpec.rounding`
    settings: dict[str, Any]  #: of the method
    skeleton: Skeleton  #: names of the K keypoints, limbs
    versions: dict[str, str]  #: of the packages that wrote the export

    @property
    def batch(self) -> int | None:
        """Batch size; None: any."""
        batch = self.inputs[0].shape[0]
        return batch if isinstance(batch, int) else None

    @property
    def input_size(self) -> tuple[int, int] | None:
        """`(width, height)` of the input; None: any."""
        height, width = self.inputs[0].shape[1:3]
        fixed = isinstance(height, int) and isinstance(width, int)
        return (width, height) if fixed else None  # type: ignore[return-value]


def info_path(export: Path) -> Path:
    """The JSON beside an export."""
    return export.with_name(f"{export.name}.json")


def write_info(export: Path, info: ExportInfo, data: bytes) -> None:
    """Write the JSON beside an export: its description, and the sum of its bytes."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sha256": hashlib.sha256(data).hexdigest(),
        **dataclasses.asdict(info),
    }
    write_json(info_path(export), content, indent=2)


def read_export(export: Path) -> tuple[ExportInfo, bytes]:
    """Read an export and the JSON beside it.

    Returns:
      Its description, and its bytes, which are those that were written.

    Raises:
      ValueError: a file is absent or damaged, or of another version.
    """
    path = info_path(export)
    for file, kind in ((export, "export"), (path, f"JSON beside {export.name}")):
        if not file.is_file():
            raise ValueError(f"{file}: no such file, expected the {kind}")
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: got format {content.get('format')!r}, expected {FORMAT!r}"
        )
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: got format version {version!r}, expected {FORMAT_VERSION}; "
            "export the weights again with this version of logocap-jax"
        )
    data = export.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != content.get("sha256"):
        raise ValueError(
            f"{export}: got SHA-256 {digest[:12]}..., expected that of {path.name}; "
            "the file is damaged, or not of that JSON: copy both again"
        )
    try:
        return _parse(content), data
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: damaged ({type(error).__name__}: {error}); copy it again"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a JSON {type(content).__name__}, expected a map")
    return content


def _parse(content: dict[str, Any]) -> ExportInfo:
    return ExportInfo(
        what=content["what"],
        file_format=content["file_format"],
        platforms=tuple(content["platforms"]),
        inputs=tuple(map(_parse_array, content["inputs"])),
        outputs=tuple(map(_parse_array, content["outputs"])),
        size_multiple=content["size_multiple"],
        size_rounding=content["size_rounding"],
        settings=content["settings"],
        skeleton=parse_skeleton(content["skeleton"]),
        versions={name: content["versions"][name] for name in ("logocap_jax", "jax")},
    )


def _parse_array(content: dict[str, Any]) -> ArrayInfo:
    name, shape, dtype = content["name"], tuple(content["shape"]), content["dtype"]
    return ArrayInfo(name, shape, dtype, content["meaning"])


def load_export(path: Path) -> tuple[ExportInfo, Model]:
    """Load an exported model that finds poses.

    Returns:
      Its description, and its compiled function.

    Raises:
      ValueError: absent or damaged, of another version, for other devices, of dense
        maps only, or ONNX without onnxruntime.
    """
    info, data = read_export(path)
    if info.what != "full":
        raise ValueError(
            f"{path}: holds {info.what} maps only; export with --what full"
        )
    call = _load_onnx if info.file_format == "onnx" else _load_stablehlo
    predict = call(path, info, data)
    return info, Model(predict, info.skeleton, lambda arrays: Poses(**arrays))


def _load_onnx(path: Path, info: ExportInfo, data: bytes) -> RunFn:
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"{path}: holds ONNX, which onnxruntime runs; "
            "pip install 'logocap-jax[onnx]', or export with --format stablehlo"
        ) from error
    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(data, providers=providers)
    names = [output.name for output in info.outputs]

    def predict(view: View) -> dict[str, np.ndarray]:
        image = {info.inputs[0].name: np.asarray(view.image)}
        return dict(zip(names, session.run(names, image), strict=True))

    return predict


def _load_stablehlo(path: Path, info: ExportInfo, data: bytes) -> RunFn:
    platform = jax.export.default_export_platform()
    if platform not in info.platforms:
        raise ValueError(
            f"{path}: made for {', '.join(info.platforms)}, but this is {platform}; "
            f"export with --platforms {platform}"
        )
    # JAX promises to read what older versions of it wrote, not what newer ones did.
    writer = info.versions["jax"]
    if _numbers(writer) > _numbers(jax.__version__):
        raise ValueError(
            f"{path}: written by jax {writer}, but this is jax {jax.__version__}; "
            f"pip install 'jax>={writer}'"
        )
    call = jax.jit(jax.export.deserialize(bytearray(data)).call)

    def predict(view: View) -> dict[str, Array]:
        return call(view.image)  # inputs fill their array

    return predict


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def fit_of(info: ExportInfo, short_side: int | None) -> Fit:
    """How images fit into the inputs of an exported model, by its description.

    `short_side` is that of inputs, px; None: 512, or what the export fixes.

    Raises:
      ValueError: if it is given although the export's size is fixed.
    """
    if info.input_size is None:
        short_side = 512 if short_side is None else short_side
        return by_short_side(short_side, info.size_multiple, info.size_rounding)
    if short_side is not None:
        width, height = info.input_size
        raise ValueError(
            f"got short_side={short_side}, but the export's size is fixed to "
            f"{height}x{width}; leave it out, or export with --size dynamic"
        )
    return letterbox(info.input_size, info.size_rounding)


def batch_size_of(info: ExportInfo, batch_size: int | None) -> int | None:
    """How many images run together; None: the predictor's default.

    Raises:
      ValueError: if it is another number than the export's.
    """
    if info.batch is None or batch_size is None:
        return info.batch or batch_size
    if batch_size != info.batch:
        raise ValueError(
            f"got batch_size={batch_size}, but the export's is fixed to {info.batch}; "
            "leave it out, or export with --batch dynamic"
        )
    return batch_size
