"""One folder of checkpoints, by Orbax: none is half written or half deleted."""

import contextlib
import itertools
import json
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from logocap_jax.checksums import verify_checksum, with_checksum
from logocap_jax.processes import gather_rows
from logocap_jax.training.errors import MismatchError, SaveError
from logocap_jax.training.state import TrainState

T = TypeVar("T")

# Orbax deletes an old checkpoint file by file; a process killed meanwhile would
# leave half of one under a valid name. Moved in here first, it never does.
_TRASH = ".todelete"


class DamagedError(ValueError):
    """Files of a checkpoint are missing, cut short or changed."""


class CheckpointFolder:
    """Checkpoints by step. All processes of a run must call all methods."""

    def __init__(self, directory: Path, *, keep: int, read_only: bool) -> None:
        """Open the folder; a writer makes it and removes what a kill left behind."""
        self._directory = directory.absolute()
        self._keep = keep
        self._read_only = read_only
        self._manager = self._open()
        self._empty_trash()

    def name(self, step: int) -> str:
        """Name of a checkpoint in messages."""
        return f"checkpoint {self._directory}/{step}"

    def steps(self) -> list[int]:
        """Steps of the checkpoints, the newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def save(self, state: TrainState, meta: dict[str, Any]) -> None:
        """Save in the background, unless the step is saved already.

        Returns when the state is copied; `meta` is saved as JSON, with checksums.

        Raises:
          SaveError: if this save, or the one before, fails.
        """
        self.wait()
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        meta = with_checksum(meta | {"leaves": describe_leaves(state)})
        with self._failure_to_save():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(vars(state)),
                    meta=ocp.args.JsonSave(meta),
                ),
            )

    def wait(self) -> None:
        """Wait for the save under way, and remove what it has replaced.

        Raises:
          SaveError: if it fails.
        """
        with self._failure_to_save():
            self._manager.wait_until_finished()
        self._empty_trash()

    def read_meta(self, step: int) -> dict[str, Any]:
        """Read a checkpoint's description: settings, shapes and checksums.

        Raises:
          DamagedError: if it is missing or damaged.
        """

        def read() -> dict[str, Any]:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
            )
            meta = restored.meta
            if not isinstance(meta, dict) or not {"leaves", "settings"} <= meta.keys():
                raise ValueError("got no description of its arrays")
            verify_checksum(meta)
            return meta

        return _on_all_processes(read)

    def restore(self, step: int, meta: dict[str, Any], like: TrainState) -> TrainState:
        """Restore the state of a checkpoint with the shapes and shardings of `like`.

        Raises:
          DamagedError: if the state is not what was saved, by its description `meta`.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, vars(like))

        def read() -> TrainState:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
            state = TrainState(**restored.state)
            # Orbax does not notice flipped bits in arrays.
            if describe_leaves(state) != meta["leaves"]:
                raise ValueError("got other numbers than were saved")
            # A folder under another name: data would go on at the wrong place.
            if int(state.step) != step:
                raise ValueError(f"got the state of step {int(state.step)}")
            return state

        # First: Orbax waits for all processes, also for one that has failed.
        _on_all_processes(lambda: _read_all(self._directory / str(step) / "state"))
        return _on_all_processes(read)

    def set_aside(self, step: int, folder: Path) -> Path:
        """Move a checkpoint to a free name in `folder`, and return that."""
        name = f"{self._directory.name}-{step}"
        names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
        target = next(
            path for path in (folder / name for name in names) if not path.exists()
        )
        multihost_utils.sync_global_devices(f"chosen {target}")
        self._manager.close()
        if jax.process_index() == 0:
            folder.mkdir(exist_ok=True)
            (self._directory / str(step)).rename(target)
        multihost_utils.sync_global_devices(f"moved {target}")
        self._manager = self._open()
        return target

    def close(self) -> None:
        """Wait for the save under way; then nothing more can be done.

        Raises:
          SaveError: if it fails.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep,
            cleanup_tmp_directories=not self._read_only,
            create=not self._read_only,
            todelete_subdir=_TRASH,
        )
        return ocp.CheckpointManager(self._directory, options=options)

    def _empty_trash(self) -> None:
        if not self._read_only:
            shutil.rmtree(self._directory / _TRASH, ignore_errors=True)

    @contextlib.contextmanager
    def _failure_to_save(self) -> Iterator[None]:
        """One-line errors of checkpoints that cannot be written."""
        try:
            yield
        # Python and TensorStore raise these on a full disk.
        except (OSError, ValueError) as error:
            raise SaveError(
                f"{self._directory}: could not write a checkpoint: {_one_line(error)}; "
                "those from before are whole: free some space, then run the same "
                "command again"
            ) from error


def _read_all(folder: Path) -> None:
    """Read all files of a state, or raise: where Orbax fails, it prints pages."""
    for path in folder.glob("array_metadatas/*"):
        json.loads(path.read_bytes())
    store = ts.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/"}).result()
    keys = store.list().result()
    if not keys:
        raise ValueError("got no arrays")
    for key in keys:
        if not store.read(key).result().value:  # so it tells of a missing file
            raise ValueError(f"got nothing for {key.decode()}")


def _on_all_processes(read: Callable[[], T]) -> T:
    """Read something; if one process cannot, all raise a DamagedError."""
    result, damage = None, None
    try:
        with _as_damage():
            result = read()
    except DamagedError as error:
        damage = error
    failed = np.flatnonzero(gather_rows(np.asarray([damage is not None])))
    if failed.size:
        raise damage or DamagedError(f"process {failed[0]} could not read it")
    return cast(T, result)


@contextlib.contextmanager
def _as_damage() -> Iterator[None]:
    """Turn what Orbax and TensorStore raise for missing and cut files into one type."""
    try:
        yield
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise DamagedError(_one_line(error)) from error
    except Exception as error:
        # Orbax raises the bare class for an array that it cannot read.
        if type(error) is not Exception:
            raise
        raise DamagedError(_one_line(error)) from error


def _one_line(error: Exception, *, length: int = 160) -> str:
    """The ends of a message: the first says what went wrong, the last says why."""
    text = " ".join(str(error).split())
    if len(text) <= length:
        return text
    return f"{text[: length // 2]} ... {text[-length // 2 :]}"


def describe_leaves(state: TrainState) -> dict[str, dict[str, Any]]:
    """Shape and checksum of each array, as JSON holds them."""
    return {
        path: {
            "shape": list(leaf.shape),
            "crc32": zlib.crc32(np.ascontiguousarray(leaf).data),
        }
        for path, leaf in _leaves(state)
    }


def check_fit(
    meta: dict[str, Any],
    like: TrainState,
    settings: dict[str, Any],
    *,
    free: Collection[str],
    name: str,
    shapes_suffice: bool,
) -> None:
    """Check that a checkpoint (its `meta`) is of these settings, but for `free` ones.

    With `shapes_suffice` settings may differ as long as the shapes are right, all but
    the skeleton: of another one, numbers of these shapes mean something else.

    Raises:
      MismatchError: if it is of others.
    """
    saved = {path: leaf["shape"] for path, leaf in meta["leaves"].items()}
    fits = saved == {path: list(leaf.shape) for path, leaf in _leaves(like)}
    of_saved = meta["settings"]
    if shapes_suffice:
        # A reader need not know all that a run was made with.
        shared = settings.keys() & of_saved.keys()
        if fits:
            shared &= {"skeleton"}
        of_saved, settings = (
            {key: each[key] for key in shared} for each in (of_saved, settings)
        )
    differing = differences(of_saved, settings, free)
    if differing:
        raise MismatchError(
            f"{name} was made with {', '.join(differing)}; use its settings, or "
            "another --workdir"
        )
    if not fits:
        raise MismatchError(
            f"{name} holds other arrays than this version of the method; evaluate "
            "it with the version that made it, or use another --workdir"
        )


def _leaves(state: TrainState) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree.leaves_with_path(vars(state))
    ]


def differences(
    saved: dict[str, Any], wanted: dict[str, Any], free: Collection[str] = ()
) -> list[str]:
    """The settings that differ and must not, one text each."""
    saved, wanted = (flatten_dict(tree, sep=".") for tree in (saved, wanted))
    return [
        f"{key}={saved.get(key)!r} (config: {wanted.get(key)!r})"
        for key in sorted((saved.keys() | wanted.keys()) - set(free))
        if saved.get(key) != wanted.get(key)
    ]
