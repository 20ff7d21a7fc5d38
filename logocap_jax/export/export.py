"""Export a model: weights, network and decoding in one file."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
from jaxtyping import Array, UInt8

import logocap_jax
from data_pipeline.read.images import MAX_SIDE
from logocap_jax.atomic import replacing
from logocap_jax.methods import build_config, initial_poses
from logocap_jax.methods.base import Method, Variables
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.logocap.config import LogoCapConfig
from logocap_jax.predictor.export_info import ArrayInfo, ExportInfo, write_info
from logocap_jax.structures import View
from logocap_jax.weights.settings import (
    build_fitting,
    load_settings,
    skeleton_of,
)

WHAT = ("full", "dense")
FILE_FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

# Arrays by name: any process can read a dict, only this project knows its own types.
ExportFn = Callable[[UInt8[Array, "B H W 3"]], dict[str, Array]]

# Sides of an input are multiples of it, as for `Predictor`.
_MULTIPLE = 64

_IMAGE = "RGB, 0..255, not normalised; input px"
_MEANINGS = {
    "keypoints": "(x, y), input px, pixel centres at integers",
    "keypoint_scores": "one score per keypoint",
    "scores": "one score per pose",
    "valid": "the slot holds a pose; all else in an invalid slot is arbitrary",
    "initial_keypoints": "(x, y) before refinement, input px",
    "heatmaps": "a map per keypoint and, last, the pose centre's; cells of 4 input px",
    "offsets": "cell - keypoint, (dx, dy), in cells of 4 input px",
}


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
      what: `full`: images to poses after pose NMS; `dense`: images to heatmaps and
        offsets.
      size: `(height, width)` of the input, multiples of 64; None: dynamic.
      batch: images that go in together; None: dynamic.
      platforms: what StableHLO shall run on, of `PLATFORMS`; ONNX asks its runtime.
      file_format: of `FILE_FORMATS`; in ONNX size and batch are fixed.
    """

    what: str = "full"
    size: tuple[int, int] | None = (512, 704)
    batch: int | None = None
    platforms: Sequence[str] = ("cpu", "cuda", "tpu")
    file_format: str = "stablehlo"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
          ValueError: if one has no meaning.
        """
        if self.what not in WHAT:
            raise ValueError(f"got what={self.what!r}, expected one of {WHAT}")
        for side in self.size or ():
            if side % _MULTIPLE or not 0 < side <= MAX_SIDE:
                raise ValueError(
                    f"got a side of {side} px, expected a multiple of {_MULTIPLE} from "
                    f"{_MULTIPLE} to {MAX_SIDE}"
                )
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"got a batch of {self.batch}, expected 1 or more")
        unknown = set(self.platforms) - set(PLATFORMS)
        if unknown or not self.platforms:
            raise ValueError(
                f"got platforms {list(self.platforms)}, expected some of "
                f"{list(PLATFORMS)}"
            )
        if self.file_format not in FILE_FORMATS:
            raise ValueError(
                f"got file_format={self.file_format!r}, expected one of {FILE_FORMATS}"
            )
        if self.file_format == "onnx" and None in (self.size, self.batch):
            raise ValueError("got a dynamic size or batch, ONNX needs fixed ones")

    @property
    def image(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the input."""
        batch, size = self.batch, self.size
        axes = [
            "batch" if batch is None else str(batch),
            *(("64*height", "64*width") if size is None else map(str, size)),
            "3",
        ]
        shape = jax.export.symbolic_shape(", ".join(axes))
        return jax.ShapeDtypeStruct(shape, jnp.uint8)


def export_weights(
    weights: Path, out: Path, options: ExportOptions, changes: dict[str, Any]
) -> ExportInfo:
    """Export the model that weights are of.

    Args:
      weights: a run of `train.py`, or any file that `logocap convert` reads or writes.
      out: the file to write; its JSON goes beside it.
      options: what to export.
      changes: settings of the method that replace those found, such as `flip_test`.

    Returns:
      What was written beside the export.

    Raises:
      ValueError: unreadable weights, or settings that do not fit them.
    """
    settings, variables = load_settings(weights, changes)
    if options.file_format == "onnx" and settings["name"] == "logocap":
        # All slots at once: ONNX gets no loop whose length depends on the image.
        every = settings.get("num_slots", LogoCapConfig.num_slots)
        settings = settings | {"slots_per_step": every}
    method = build_fitting(weights, settings, variables)
    variables = jax.jit(method.prepare)(variables)
    dense = options.what == "dense"
    # Jitted, so that it is traced once.
    function = jax.jit(
        dense_function(settings, variables)
        if dense
        else full_function(method, variables)
    )
    data = _serialized(function, options, settings)
    info = _describe(function, options, settings)
    with replacing(out) as temporary:
        temporary.write_bytes(data)
    write_info(out, info, data)
    return info


def _serialized(
    function: ExportFn, options: ExportOptions, settings: dict[str, Any]
) -> bytes:
    """Trace and lower a function of images; what it closes over becomes constants."""
    if options.file_format == "stablehlo":
        export = jax.export.export(jax.jit(function), platforms=options.platforms)
        return bytes(export(options.image).serialize())
    if (dtype := settings.get("dtype", "float32")) != "float32":
        raise ValueError(f"got dtype={dtype!r}, expected float32 for ONNX")
    try:
        from logocap_jax.export.to_onnx import to_onnx
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'logocap-jax[onnx]'") from error
    return to_onnx(function, options.image).SerializeToString()


def full_function(method: Method, variables: Variables) -> ExportFn:
    """Images to poses after pose NMS, in input px."""

    def full(image: UInt8[Array, "B H W 3"]) -> dict[str, Array]:
        poses = method.predict(variables, View(image))[method.answer]
        names = [field.name for field in dataclasses.fields(poses)]
        return {name: getattr(poses, name) for name in names}

    return full


def dense_function(settings: dict[str, Any], variables: Variables) -> ExportFn:
    """Images to heatmaps and offsets.

    Args:
      settings: of the method, as `load_settings` returns them.
      variables: its variables.
    """
    names = {field.name for field in dataclasses.fields(InitialPosesConfig)}
    shared = {name: value for name, value in settings.items() if name in names}
    config = build_config("center_offset", shared)

    def dense(image: UInt8[Array, "B H W 3"]) -> dict[str, Array]:
        maps = initial_poses.predict_maps(config.network(), variables, image, config)
        return {"heatmaps": maps.heatmaps, "offsets": maps.offsets}

    return dense


def _describe(
    function: ExportFn, options: ExportOptions, settings: dict[str, Any]
) -> ExportInfo:
    stablehlo = options.file_format == "stablehlo"
    outputs = jax.eval_shape(function, options.image)
    return ExportInfo(
        what=options.what,
        file_format=options.file_format,
        platforms=tuple(options.platforms) if stablehlo else (),
        inputs=(_describe_array("image", options.image, _IMAGE),),
        outputs=tuple(
            _describe_array(name, array, _MEANINGS[name])
            for name, array in sorted(outputs.items())
        ),
        size_multiple=_MULTIPLE,
        normalisation={
            "inside": True,
            "rule": "(image / 255 - mean) / std",
            "mean": initial_poses.IMAGE_MEAN,
            "std": initial_poses.IMAGE_STD,
        },
        settings={key: settings[key] for key in settings if key != "skeleton"},
        skeleton=skeleton_of(settings),
        versions={"logocap_jax": logocap_jax.__version__, "jax": jax.__version__},
    )


def _describe_array(name: str, array: Any, meaning: str) -> ArrayInfo:
    shape = tuple(
        axis if isinstance(axis, int) else str(axis).replace(" ", "")
        for axis in array.shape
    )
    return ArrayInfo(name, shape, str(array.dtype), meaning)
