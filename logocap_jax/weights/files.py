"""Weights on disk: state dicts in, variables in and out; the start of a run."""

import json
import logging
import os
import pathlib
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from logocap_jax.atomic import replacing
from logocap_jax.checksums import verify_checksum
from logocap_jax.methods import find_format
from logocap_jax.torch_rows import Shapes
from logocap_jax.weights.containers import errors_naming, read_arrays
from logocap_jax.weights.named import find_weights
from logocap_jax.weights.packed import verify_packed
from logocap_jax.weights.recognise import (
    expected_shapes,
    find_table,
    identify,
    is_ours,
    own_arrays,
)
from logocap_jax.weights.torch_files import write_zip
from logocap_jax.weights.trees import (
    Report,
    Variables,
    flatten,
    is_in,
    match_arrays,
    unflatten,
)

Path = str | os.PathLike[str]

_VARIANCES = (".running_var", "/var")
_LOG = logging.getLogger(__name__)


def load_weights(path: Path, **options: Any) -> dict[str, Any]:
    """Load variables from any weights; see `read_weights`, which also reports."""
    return read_weights(path, **options)[0]


def read_weights(
    path: Path,
    *,
    raw: bool = False,
    files: Mapping[str, Path] | None = None,
    **options: Any,
) -> tuple[dict[str, Any], Report]:
    """Read variables and what became of each array.

    Args:
      path: of what `read_file` takes, or as `find_weights` takes it.
      raw: as for `load_variables`.
      files: further files of the same model by name, such as `scorer`.
      options: as for `to_variables`.

    Raises:
      ValueError: unreadable, or as `to_variables`.
      OSError: cannot be opened.
    """
    path = find_weights(path)
    arrays = read_file(path, raw=raw)
    for name, part in (files or {}).items():
        further = read_file(find_weights(part))
        arrays |= {f"{name}.{key}": array for key, array in further.items()}
    with errors_naming(path):
        return to_variables(arrays, **options)


def read_file(path: Path, *, raw: bool = False) -> dict[str, np.ndarray]:
    """Read arrays under their names in the file.

    Takes what `containers.read_arrays` and `load_variables` take.

    Raises:
      ValueError: unreadable, or of numbers that are none.
    """
    if os.path.isdir(path):
        arrays = flatten(load_variables(path, raw=raw))
    else:
        arrays = read_arrays(path)
        verify_packed(path, arrays)
    _check_numbers(path, arrays)
    return arrays


def _check_numbers(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse weights that are not numbers, of which nothing but NaN would come."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            problem = "NaN or infinity, expected finite numbers"
        elif name.endswith(_VARIANCES) and (array < 0).any():
            problem = "a negative variance, expected 0 or more"
        else:
            continue
        raise ValueError(
            f"{path}: {name}: got {problem}; training has diverged, or the file is "
            "damaged: take an earlier one"
        )


def to_variables(
    arrays: Mapping[str, np.ndarray],
    *,
    expected: Variables | None = None,
    partial: bool = False,
    method: str | None = None,
    optional: Collection[str] = (),
) -> tuple[dict[str, Any], Report]:
    """Bring arrays into our tree and layout.

    Args:
      arrays: by our paths, or the keys of a method's PyTorch checkpoints.
      expected: the model's variables or their shapes, whose dtypes the result gets. By
        default a state dict is checked against the model that it tells itself, which
        starts JAX, and our own arrays are taken as they are.
      partial: take what fits; the variables then hold only that.
      method: whose table of names is used; by default the arrays tell.
      optional: as for `match_arrays`.

    Returns:
      The variables and what became of each array.

    Raises:
      ValueError: an array is unused, missing or of the wrong shape, unless `partial`;
        also as `identify`.
    """
    identified = None if is_ours(arrays) else identify(arrays, method)
    source = identified.source if identified else own_arrays(arrays)
    like = flatten(expected) if expected is not None else source.arrays
    shapes: Shapes = {path: leaf.shape for path, leaf in like.items()}
    missing: list[str] = []
    if identified and expected is None:
        if identified.settings is None:
            missing = find_format(identified.method).absent_modules(source.arrays)
        else:
            shapes, optional = expected_shapes(identified.method, identified.settings)
    taken, report = match_arrays(source, shapes, optional=optional)
    report.missing.extend(missing)
    if not partial:
        report.require_complete()
    # C order: safetensors writes memory as it lies, whatever the strides.
    return unflatten(
        {
            path: leaf.astype(like[path].dtype, order="C", copy=False)
            for path, leaf in taken.items()
        }
    ), report


def save_variables(path: Path, variables: Variables) -> None:
    """Write variables (of NumPy or JAX) as an Orbax checkpoint, a new folder.

    Raises:
      ValueError: `path` exists.
    """
    from orbax.checkpoint import v1 as ocp  # starts JAX, which other formats need not

    path = pathlib.Path(path).absolute()
    if path.exists():
        raise ValueError(f"{path}: exists, expected a folder to make")
    ocp.save(path, variables)


def load_variables(path: Path, *, raw: bool = False) -> dict[str, Any]:
    """Read an Orbax checkpoint, or a run of `train.py`, as NumPy arrays.

    Of a run the best checkpoint is taken (or, without one, the last), without the
    optimizer's state, and the moving average of its variables where it keeps one,
    unless `raw`.

    Raises:
      ValueError: no Orbax checkpoint, or a damaged one.
    """
    import jax  # other formats need not start it
    from orbax.checkpoint import v1 as ocp

    folder = checkpoint_folder(pathlib.Path(path).absolute())
    with errors_naming(folder):
        # As NumPy's arrays, so that the devices that wrote them need not be there.
        like = jax.tree.map(
            lambda leaf: np.empty(leaf.shape, leaf.dtype), ocp.metadata(folder).metadata
        )
        loaded = ocp.load(folder, like)
    average = None if raw else loaded.get("ema")
    prefix, tree = ("ema/", average) if average else ("", loaded)
    variables = {name: tree[name] for name in tree if is_ours([f"{name}/"])}
    _check_digests(folder / "meta" / "metadata", prefix, flatten(variables))
    return variables


def checkpoint_folder(path: pathlib.Path) -> pathlib.Path:
    """The checkpoint to take of a run, the best or the last; any other path as is."""
    for kind in ("best", "last"):
        folder = path / "checkpoints" / kind
        steps = [p for p in folder.glob("*") if p.name.isdigit()]
        if steps:
            return max(steps, key=lambda step: int(step.name))
    return path


def _check_digests(
    digests: pathlib.Path, prefix: str, arrays: Mapping[str, np.ndarray]
) -> None:
    """Hold arrays against what training wrote beside them: Orbax does not."""
    if not digests.exists():
        return
    with errors_naming(digests):
        meta = json.loads(digests.read_bytes())
        verify_checksum(meta)
        leaves = meta["leaves"]
        for name, array in arrays.items():
            saved = leaves[f"{prefix}{name}"]["crc32"]
            if zlib.crc32(np.ascontiguousarray(array).data) != saved:
                raise ValueError(f"{name}: got other numbers than were saved")


def save_safetensors(path: Path, variables: Variables) -> None:
    """Write variables to one `.safetensors` file, named by their paths."""
    arrays = {
        name: np.asarray(leaf, order="C") for name, leaf in flatten(variables).items()
    }
    with replacing(path) as temporary:
        save_file(arrays, temporary)


def save_torch(
    path: Path, variables: Variables, *, method: str | None = None
) -> list[pathlib.Path]:
    """Write variables as a state dict that `torch.load` and the reference read.

    Args:
      path: file to write. Parts that PyTorch keeps in a file of their own go beside it:
        `scorer_NAME`.
      variables: of a method.
      method: whose keys; by default the arrays tell.

    Returns:
      The files written.

    Raises:
      ValueError: a path that the PyTorch model has no key for, or a file beside `path`
        exists; also as `identify`.
    """
    path = pathlib.Path(path)
    method = method or find_table(flatten(variables))
    state = to_state_dict(variables, method=method)
    parts: dict[pathlib.Path, dict[str, np.ndarray]] = {}
    for name in find_format(method).files:
        prefix, target = f"{name}.", path.with_name(f"{name}_{path.name}")
        keys = [key for key in state if key.startswith(prefix)]
        if keys and target.exists():
            raise ValueError(f"{target}: exists; remove it or name another target")
        if keys:
            parts[target] = {key.removeprefix(prefix): state.pop(key) for key in keys}
    parts[path] = state
    for target, arrays in parts.items():
        with replacing(target) as temporary:
            write_zip(temporary, arrays)
    return list(parts)


def to_state_dict(
    variables: Variables, *, method: str | None = None
) -> dict[str, np.ndarray]:
    """Undo `to_variables` for a state dict, bit for bit, but for norms' step counts.

    The variables may be a part of a model; by default they tell the method.

    Raises:
      ValueError: a path that the PyTorch model has no key for; also as `identify`.
    """
    arrays = flatten(variables)
    return find_format(method or find_table(arrays)).to_torch(arrays)


def start_from(
    path: pathlib.Path,
    fresh: Variables,
    *,
    method: str,
    may_lack: Collection[str] | None = None,
) -> Variables:
    """Put weights from a file or folder into fresh variables of a model.

    A module that the file lacks as a whole (heads, for an ImageNet backbone) stays
    fresh, and so do, of a model for another number of keypoints, the modules that
    depend on it; arrays that the model has no place for are left out. All is logged.
    `method` tells the PyTorch keys; `may_lack` are the parts of the model (as in
    `match_arrays`) that the file may lack, None: any.

    Raises:
      ValueError: unreadable, an array of another shape, a module that the file
        holds in part, another part that it lacks, or nothing that fits.
    """
    path = find_weights(path)
    arrays = read_file(path)
    with errors_naming(path):
        loaded, report = to_variables(
            arrays, expected=fresh, partial=True, method=method
        )
        others = _keypoint_modules(arrays, fresh, method) if report.wrong_shape else ()
    taken, wrong_shape = flatten(loaded), report.wrong_shape
    if others:
        _LOG.info("fresh, for other keypoints: %s", ", ".join(sorted(others)))
        taken = {name: taken[name] for name in taken if _module(name) not in others}
        wrong_shape = [text for text in wrong_shape if _module(text) not in others]
    begun = {_subtree(name) for name in taken}
    halved = [name for name in report.missing if _subtree(name) in begun]
    lacking = [] if may_lack is None else [*(flatten(fresh).keys() - taken.keys())]
    lacking = [name for name in lacking if not is_in(name, may_lack or ())]
    for reason, names in (
        ("arrays of the wrong shape", wrong_shape),
        ("arrays lacking in modules of which it has others", halved),
        ("arrays lacking in parts that do not learn", sorted(lacking)),
    ):
        if names:
            raise ValueError(
                f"{path}: {len(names)} {reason}, expected weights of this "
                f"architecture (first: {names[0]})"
            )
    if not taken:
        raise ValueError(
            f"{path}: no array fits; it has {', '.join(report.unused[:3])}, expected "
            f"such as {next(iter(flatten(fresh)))}"
        )
    _LOG.info("start from %s\n%s", path, report.format())
    return unflatten(flatten(fresh) | taken)


def _keypoint_modules(
    arrays: Mapping[str, np.ndarray], fresh: Variables, method: str
) -> set[str]:
    """The modules that depend on the number of keypoints, if the file has another."""
    settings = identify(flatten(fresh), method).settings
    of_file = identify(arrays).settings
    if not settings or not of_file:
        return set()
    number = {"num_keypoints": of_file["num_keypoints"]}
    before, after = (
        expected_shapes(method, sizes)[0] for sizes in (settings | number, settings)
    )
    return {_module(path) for path in after if after[path] != before[path]}


def _module(name: str) -> str:
    """`dense/heatmap_head` of `params/dense/heatmap_head/conv/kernel`."""
    return "/".join(_subtree(name)[1:])


def _subtree(name: str) -> tuple[str, ...]:
    return tuple(name.split("/")[:3])
