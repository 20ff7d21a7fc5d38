"""Export a model: weights, network and decoding in one file."""

import dataclasses
import math
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
from logocap_jax.methods import find_method
from logocap_jax.methods.base import InputSpec, MapLayer, Method, Variables
from logocap_jax.methods.stages import run_stages
from logocap_jax.predictor.compiled import load_for_inference
from logocap_jax.predictor.exported import ArrayInfo, ExportInfo, write_info
from logocap_jax.predictor.inputs import MULTIPLE
from logocap_jax.structures import View
from logocap_jax.weights.settings import build_fitting, config_of

WHAT = ("full", "dense")
FILE_FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

# Arrays by name: any process can read a dict, only this project knows its own types.
ExportFn = Callable[[UInt8[Array, "B H W 3"]], dict[str, Array]]

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
_MAPS = "maps of the method, cell by cell"


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of an export."""

    #: `full`: images to poses after pose NMS; `dense`: images to dense maps.
    what: str = "full"
    #: `(height, width)` of the input, multiples of 64; None: dynamic.
    size: tuple[int, int] | None = (512, 704)
    batch: int | None = None  #: images that go in together; None: dynamic
    #: Of StableHLO, of `PLATFORMS`; ONNX asks its runtime.
    platforms: Sequence[str] = ("cpu", "cuda", "tpu")
    #: Of `FILE_FORMATS`; in ONNX size and batch are fixed.
    file_format: str = "stablehlo"

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
          ValueError: if one has no meaning.
        """
        if self.what not in WHAT:
            raise ValueError(f"got what={self.what!r}, expected one of {WHAT}")
        for side in self.size or ():
            if side % MULTIPLE or not 0 < side <= MAX_SIDE:
                raise ValueError(
                    f"got a side of {side} px, expected a multiple of {MULTIPLE} from "
                    f"{MULTIPLE} to {MAX_SIDE}"
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

    def image(self, multiple: int) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the input, whose sides are multiples of a number.

        Raises:
          ValueError: if the size is not.
        """
        if any(side % multiple for side in self.size or ()):
            raise ValueError(
                f"got a size of {self.size} px, expected multiples of {multiple}"
            )
        sides = self.size or (f"{multiple}*height", f"{multiple}*width")
        axes = (self.batch or "batch", *sides, 3)
        shape = jax.export.symbolic_shape(", ".join(map(str, axes)))
        return jax.ShapeDtypeStruct(shape, jnp.uint8)


def export_weights(
    weights: Path, out: Path, options: ExportOptions, **model: Any
) -> ExportInfo:
    """Export the model that weights belong to.

    Args:
      weights: a run of `train.py`, or any file that `logocap convert` reads or writes.
      out: the file to write; its JSON goes beside it.
      options: of the export.
      **model: options of `compiled.load_for_inference`.

    Returns:
      The description of the export.

    Raises:
      ValueError: unreadable weights, settings that do not fit them, or a full model
        with a step on the host.
    """
    settings, variables = load_for_inference(weights, **model)
    config = config_of(settings)
    if options.file_format == "onnx" and hasattr(config, "slots_per_step"):
        # All slots at once: ONNX gets no loop whose length depends on the image.
        settings = settings | {"slots_per_step": config.num_slots}
    method = build_fitting(weights, settings, variables)
    if options.what == "full" and method.finish:
        raise ValueError(
            f"{weights}: method {settings['name']!r} ends with a step on the host, "
            "which no export holds; export its maps: --what dense"
        )
    variables = jax.jit(method.prepare)(variables)
    # Jitted, so that it is traced once.
    function = jax.jit(
        dense_function(settings, method, variables)
        if options.what == "dense"
        else full_function(method, variables)
    )
    inputs = find_method(settings["name"]).inputs(config)
    if inputs.scales:
        raise ValueError(
            f"{weights}: got test scales {inputs.scales} beside 1, whose images are "
            "made from the photograph, expected 1 alone in an export"
        )
    image = options.image(_multiple(inputs))
    data = _serialized(function, image, options, settings)
    info = _describe(function, image, options, settings, inputs)
    with replacing(out) as temporary:
        temporary.write_bytes(data)
    write_info(out, info, data)
    return info


def _multiple(inputs: InputSpec) -> int:
    """Sides of an exported model's inputs are multiples of it, px."""
    return math.lcm(MULTIPLE, inputs.multiple)


def _serialized(
    function: ExportFn,
    image: jax.ShapeDtypeStruct,
    options: ExportOptions,
    settings: dict[str, Any],
) -> bytes:
    """Trace and lower a function of images; captured arrays become constants."""
    if options.file_format == "stablehlo":
        export = jax.export.export(jax.jit(function), platforms=options.platforms)
        return bytes(export(image).serialize())
    if (dtype := settings.get("dtype", "float32")) != "float32":
        raise ValueError(f"got dtype={dtype!r}, expected float32 for ONNX")
    try:
        from logocap_jax.export.to_onnx import to_onnx
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'logocap-jax[onnx]'") from error
    return to_onnx(function, image).SerializeToString()


def full_function(method: Method, variables: Variables) -> ExportFn:
    """Images to poses after pose NMS, in input px."""

    def full(image: UInt8[Array, "B H W 3"]) -> dict[str, Array]:
        poses = method.predict(variables, View(image))[method.answer]
        return {name: x for name, x in vars(poses).items() if x is not None}

    return full


def dense_function(
    settings: dict[str, Any], method: Method, variables: Variables
) -> ExportFn:
    """Images to dense maps: those that the method names, else the layers it explains.

    The method is built from the settings, which are as `load_settings` returns them.
    """
    spec = find_method(settings["name"])

    def dense(image: UInt8[Array, "B H W 3"]) -> dict[str, Array]:
        if spec.dense:
            stages = spec.stages(config_of(settings))
            return run_stages(stages, variables, vars(View(image)), spec.dense)
        layers = method.explain(variables, View(image)).layers.items()
        return {name: x.values for name, x in layers if isinstance(x, MapLayer)}

    return dense


def _describe(
    function: ExportFn,
    image: jax.ShapeDtypeStruct,
    options: ExportOptions,
    settings: dict[str, Any],
    inputs: InputSpec,
) -> ExportInfo:
    stablehlo = options.file_format == "stablehlo"
    outputs = jax.eval_shape(function, image)
    return ExportInfo(
        what=options.what,
        file_format=options.file_format,
        platforms=tuple(options.platforms) if stablehlo else (),
        inputs=(_describe_array("image", image, _IMAGE),),
        outputs=tuple(
            _describe_array(name, array, _MEANINGS.get(name, _MAPS))
            for name, array in sorted(outputs.items())
        ),
        size_multiple=_multiple(inputs),
        size_rounding=inputs.rounding,
        settings={key: settings[key] for key in settings if key != "skeleton"},
        skeleton=config_of(settings).skeleton,
        versions={"logocap_jax": logocap_jax.__version__, "jax": jax.__version__},
    )


def _describe_array(name: str, array: Any, meaning: str) -> ArrayInfo:
    shape = tuple(
        axis if isinstance(axis, int) else str(axis).replace(" ", "")
        for axis in array.shape
    )
    return ArrayInfo(name, shape, str(array.dtype), meaning)
