"""Run an exported model: nothing of the model's code is needed."""

import re
from pathlib import Path

import jax
import jax.export

from logocap_jax.predictor.export_info import ExportInfo, read_export
from logocap_jax.predictor.fitting import Fit, by_short_side, letterbox
from logocap_jax.predictor.predictor import PredictFn
from logocap_jax.structures import Poses


def load_export(path: Path) -> tuple[ExportInfo, PredictFn]:
    """Load an exported model that finds poses.

    Returns:
      What is known of it, and its jitted function.

    Raises:
      ValueError: absent or damaged, of another version, for other devices, of dense
        maps only, or ONNX.
    """
    info, data = read_export(path)
    if info.file_format != "stablehlo":
        raise ValueError(
            f"{path}: holds {info.file_format}, which onnxruntime runs; export with "
            "--format stablehlo"
        )
    if info.what != "full":
        raise ValueError(
            f"{path}: holds {info.what} maps only; export with --what full"
        )
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
    exported = jax.export.deserialize(bytearray(data))

    def predict(image: jax.Array, valid_size: jax.Array | None) -> Poses:
        del valid_size  # its inputs fill their array
        return Poses(**exported.call(image))

    return info, jax.jit(predict)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def fit_of(info: ExportInfo, short_side: int | None) -> Fit:
    """How images fit into the inputs of an exported model.

    Args:
      info: what is known of it.
      short_side: of inputs, px; None: 512, or what the export fixes.

    Raises:
      ValueError: if it is given although the export's size is fixed.
    """
    if info.input_size is None:
        return by_short_side(512 if short_side is None else short_side)
    if short_side is not None:
        width, height = info.input_size
        raise ValueError(
            f"got short_side={short_side}, but the export's size is fixed to "
            f"{height}x{width}; leave it out, or export with --size dynamic"
        )
    return letterbox(info.input_size)


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
