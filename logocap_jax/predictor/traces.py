"""Traces on disk: beside JAX's compiled programs, what a second run need not do again.

The compilation cache spares compiling, but it is asked only once a function has been
traced, which for an HRNet takes longer than to start Python and load the program.
"""

import hashlib
import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
import jax.export

import logocap_jax
from logocap_jax.atomic import replacing

_SOURCES = pathlib.Path(logocap_jax.__file__).parent
# Settings of JAX that a trace depends on.
_JAX_SETTINGS = (
    *("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion"),
    *("jax_default_prng_impl", "jax_threefry_partitionable"),
)
_DIGEST = hashlib.sha256
_DIGEST_SIZE = _DIGEST().digest_size

logger = logging.getLogger(__name__)


def folder_of(*model: Any) -> pathlib.Path | None:
    """The folder of a model's traces, in that of JAX's compilation cache.

    Another model has another folder, and so has another version of the code.

    Args:
      *model: what its functions depend on, as values whose `repr` says all.

    Returns:
      The folder, which there need not be yet; None: nothing is to be kept.
    """
    cache = jax.config.values["jax_compilation_cache_dir"]
    if not cache or "://" in cache:
        return None
    digest = _DIGEST()
    settings = [(name, jax.config.values[name]) for name in _JAX_SETTINGS]
    versions = (jax.__version__, flax.__version__)
    digest.update(repr((model, versions, settings)).encode())
    for source in sorted(_SOURCES.rglob("*.py")):
        digest.update(source.read_bytes())
    return pathlib.Path(cache) / f"traces-{digest.hexdigest()[:32]}"


def jit_kept(
    function: Callable[..., Any], arguments: Sequence[Any], folder: pathlib.Path | None
) -> Callable[..., Any]:
    """Jit a function for arguments of one shape; a trace that was kept is used.

    Args:
      function: from and to arrays, in dicts.
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
    kept = jax.export.deserialize(bytearray(trace)).call

    def call(*arguments: Any) -> Any:
        return kept(*arguments)

    call.__name__ = function.__name__
    return jax.jit(call)


def _read(path: pathlib.Path) -> bytes | None:
    """What `_write` has written; None where it did not, or it is damaged."""
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
