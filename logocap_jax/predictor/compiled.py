"""Compiled functions of a model; programs and traces are kept on disk for later runs.

JAX's compilation cache spares compiling, but it is asked only once a function has been
traced, which for an HRNet takes longer than to start Python and load the program. So
traces are kept beside it.
"""

import dataclasses
import hashlib
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.export

import logocap_jax
from logocap_jax import structures
from logocap_jax.atomic import replacing
from logocap_jax.methods import default_settings, find_method
from logocap_jax.methods.base import (
    Explanation,
    InputSpec,
    Method,
    Outputs,
    Variables,
    answer_of,
    finish,
)
from logocap_jax.models.folding import formats
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import View
from logocap_jax.weights.settings import (
    build_fitting,
    build_from,
    config_of,
    load_settings,
)
from logocap_jax.weights.trees import flatten

_SOURCES = pathlib.Path(logocap_jax.__file__).parent
# Settings of JAX that a trace depends on.
_JAX_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)
_DIGEST = hashlib.sha256
_DIGEST_SIZE = _DIGEST().digest_size
# Beside traces, once the weights have been checked.
_CHECKED = "fits"

# Inputs in NumPy -> arrays on the device, under way.
RunFn: TypeAlias = Callable[[View], Any]

logger = logging.getLogger(__name__)


class Model(NamedTuple):
    """The compiled functions of a model, with its weights."""

    predict: RunFn  #: arrays from which `finish` makes the answer
    skeleton: Skeleton  #: keypoints of the poses
    #: Those arrays on the host -> poses in input px.
    finish: Callable[[Any], structures.Poses] = lambda poses: poses
    #: The same arrays, and layers; None: an export, which keeps none.
    explain: Callable[[View], Explanation] | None = None
    inputs: InputSpec = InputSpec()  #: the input that its method needs
    on_host: bool = False  #: `finish` is a step of the method's own


def keep_compiled() -> None:
    """Use JAX's compilation cache, unless the caller has decided about it already.

    Compilations that take a second or more are kept, in `default_folder()`. A caller
    decides by `JAX_COMPILATION_CACHE_DIR` or the setting of that name: another folder,
    or none where it is empty.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(default_folder()))


def default_folder() -> pathlib.Path:
    """`logocap_jax` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "logocap_jax"


def load_for_inference(
    path: pathlib.Path,
    *,
    flip_test: bool = True,
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    skeleton: Skeleton | None = None,
) -> tuple[dict[str, Any], Variables]:
    """Load weights, and the settings to run them with.

    Args:
      path: a run of `train.py`, or any file that `logocap convert` reads or writes.
      flip_test: average with the mirror image, where the method knows that.
      dtype: of the network.
      settings: further settings of the method, in place of those found.
      skeleton: keypoints of the weights; None: a run tells, else their number.

    Returns:
      The method's `name` and its settings; the weights.

    Raises:
      ValueError: unreadable, or not of a known method.
    """
    changes = {"flip_test": flip_test, "dtype": dtype, **(settings or {})}
    if skeleton is not None:
        changes["skeleton"] = dataclasses.asdict(skeleton)
    merged, variables = load_settings(path, changes)
    if flip_test and "flip_test" not in default_settings(merged["name"]):
        del merged["flip_test"]
    return merged, variables


def compile_weights(path: pathlib.Path, **options: Any) -> Model:
    """Load weights and jit the functions of their method; nothing is compiled yet.

    Path and options are those of `load_for_inference`.

    Raises:
      ValueError: unreadable weights, or settings that do not fit them.
    """
    settings, variables = load_for_inference(path, **options)
    shapes = {name: (x.shape, x.dtype.name) for name, x in flatten(variables).items()}
    folder = folder_of(settings, shapes)
    method = _build_checked(path, settings, variables, folder)
    config = config_of(settings)
    prepared = jax.jit(method.prepare)(variables)
    (device,) = jax.tree.leaves(prepared)[0].devices()
    prepared = jax.device_put(prepared, formats(prepared, device))
    explain = jax.jit(method.explain)
    return Model(
        _keep_traces(method, prepared, folder),
        config.skeleton,
        finish=lambda outputs: finish(method, outputs)[method.answer],
        explain=lambda view: explain(prepared, view),
        inputs=find_method(settings["name"]).inputs(config),
        on_host=method.finish is not None,
    )


def _build_checked(
    path: pathlib.Path,
    settings: dict[str, Any],
    variables: Variables,
    folder: pathlib.Path | None,
) -> Method:
    """Build the method that weights belong to.

    Tracing its initialisation, to check their shapes, takes seconds; what was checked
    with the same settings, shapes and code is not checked again.
    """
    checked = None if folder is None else folder / _CHECKED
    if checked is not None and checked.is_file():
        return build_from(path, settings)
    method = build_fitting(path, settings, variables)
    if checked is not None:
        _write(checked, b"")
    return method


def _keep_traces(
    method: Method, variables: Variables, folder: pathlib.Path | None
) -> RunFn:
    programs: dict[Any, Any] = {}

    # Nested dicts of arrays, as a trace on disk knows none of this project's types.
    def predict(variables: Variables, view: dict[str, Any]) -> Outputs:
        outputs = answer_of(method, method.predict(variables, View(**view)))
        return outputs if method.finish else vars(outputs[method.answer])

    def run(view: View) -> Outputs:
        arguments = (variables, vars(view))
        shape = (view.image.shape, view.valid_size is None)
        if shape not in programs:
            programs[shape] = jit_kept(predict, arguments, folder)
        outputs = programs[shape](*arguments)
        if method.finish:
            return outputs
        return {method.answer: structures.Poses(**outputs)}

    return run


def folder_of(*model: Any) -> pathlib.Path | None:
    """The folder of a model's traces, in that of JAX's compilation cache.

    Another model has another folder, and so has another version of the code; `model` is
    all that its functions depend on, as values with a complete `repr`. The folder need
    not exist yet; None: keep nothing.
    """
    cache = jax.config.values["jax_compilation_cache_dir"]
    if not cache or "://" in cache:
        return None
    digest = _DIGEST()
    settings = [(name, jax.config.values[name]) for name in _JAX_SETTINGS]
    versions = (jax.__version__, metadata.version("flax"))
    digest.update(repr((model, versions, settings)).encode())
    for source in sorted(_SOURCES.rglob("*.py")):
        digest.update(source.read_bytes())
    return pathlib.Path(cache) / f"traces-{digest.hexdigest()[:32]}"


def jit_kept(
    function: Callable[..., Any], arguments: Sequence[Any], folder: pathlib.Path | None
) -> Callable[..., Any]:
    """Jit a function for arguments of one shape, from a kept trace if there is one.

    Args:
      function: from and to arrays, in nested dicts, tuples and lists.
      arguments: for which it is traced, if it must be.
      folder: from `folder_of` of all that the function depends on; None: keep nothing.

    Returns:
      The function, jitted.
    """
    if folder is None:
        return jax.jit(function)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    platform = jax.export.default_export_platform()
    name = _DIGEST(repr((function.__name__, platform, shapes)).encode()).hexdigest()
    path = folder / name
    trace = _read(path)
    if trace is None:
        trace = bytes(jax.export.export(jax.jit(function))(*shapes).serialize())
        _write(path, trace)
    exported = jax.export.deserialize(bytearray(trace))

    def call(*arguments: Any) -> Any:
        return exported.call(*arguments)

    call.__name__ = function.__name__
    return jax.jit(call)


def _read(path: pathlib.Path) -> bytes | None:
    """The content that `_write` has written; None: absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, trace = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return trace if _DIGEST(trace).digest() == digest else None


def _write(path: pathlib.Path, trace: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(_DIGEST(trace).digest() + trace)
    except OSError as error:
        logger.warning("%s: cannot be kept for later runs: %s", path, error.strerror)
