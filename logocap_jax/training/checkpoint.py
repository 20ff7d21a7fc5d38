"""Checkpoints: the last state and the best one, crash-safe, by Orbax."""

import contextlib
import fcntl
import json
import math
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
import orbax.checkpoint as ocp

from logocap_jax.training.state import TrainState

# Orbax deletes an old checkpoint file by file; a process killed meanwhile would
# leave half of one under a valid name. Moved in here first, it never does.
_TRASH = ".todelete"


class Checkpoints:
    """The checkpoints of one run, in `directory/last` and `directory/best`."""

    def __init__(
        self,
        directory: Path,
        *,
        settings: dict[str, Any],
        keep: int = 2,
        read_only: bool = False,
    ) -> None:
        """Open the folders; a writer makes them and removes what a kill left behind.

        Args:
          directory: folder of the run's checkpoints.
          settings: what the state depends on (the method's settings). A writer
            refuses a checkpoint made with others; a reader only one whose arrays
            have other shapes, for some settings count at test time alone.
          keep: number of last checkpoints kept.
          read_only: change nothing, so that a run under way can be evaluated.

        Raises:
          ValueError: if another process writes there.
        """
        self._settings = json.loads(json.dumps(settings))
        self._read_only = read_only
        self._lock = None if read_only else _lock(directory)
        self._last = _open(directory / "last", keep, read_only)
        self._best = _open(directory / "best", 1, read_only)

    def save_last(self, state: TrainState) -> None:
        """Save in the background; returns as soon as the state is copied."""
        self._save(self._last, state, {})

    def save_best(self, state: TrainState, score: float) -> None:
        """Save in the background if the score beats that of the saved best.

        NaN beats nothing.
        """
        best = self.best_score()
        if not math.isnan(score) and (best is None or score > best):
            self._save(self._best, state, {"score": score})

    def best_score(self) -> float | None:
        """The score of the saved best, if there is one."""
        self._best.wait_until_finished()
        step = self._best.latest_step()
        return None if step is None else float(_read_meta(self._best, step)["score"])

    def restore_last(self, like: TrainState) -> TrainState | None:
        """The newest state, or None in a new run.

        Args:
          like: a state whose shapes and shardings the result gets.

        Raises:
          ValueError: if the checkpoint is of another architecture, or damaged.
        """
        return self._restore(self._last, like)

    def restore_best(self, like: TrainState) -> TrainState | None:
        """The best state, or None where none was saved; see `restore_last`."""
        return self._restore(self._best, like)

    def close(self) -> None:
        """Wait for saves under way and let other processes write."""
        for manager in (self._last, self._best):
            _finish(manager, self._read_only)
            manager.close()
        if self._lock is not None:
            self._lock.close()

    def _save(
        self,
        manager: ocp.CheckpointManager,
        state: TrainState,
        extra: dict[str, Any],
    ) -> None:
        assert not self._read_only
        _finish(manager, self._read_only)
        step = int(state.step)
        if step in manager.all_steps():
            return
        meta = {"settings": self._settings, "leaves": _describe(state), **extra}
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(vars(state)), meta=ocp.args.JsonSave(meta)
            ),
        )

    def _restore(
        self, manager: ocp.CheckpointManager, like: TrainState
    ) -> TrainState | None:
        manager.wait_until_finished()
        step = manager.latest_step()
        if step is None:
            return None
        name = f"checkpoint {manager.directory}/{step}"
        with _damage_of(name):
            meta = _read_meta(manager, step)
        self._check_fit(meta, like, name)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, vars(like))
        with _damage_of(name):
            restored = manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
            state = TrainState(**restored.state)
            # Orbax does not notice flipped bits in arrays.
            if _describe(state) != meta["leaves"]:
                raise ValueError("got other numbers than were saved")
        return state

    def _check_fit(self, meta: dict[str, Any], like: TrainState, name: str) -> None:
        saved = {path: leaf["shape"] for path, leaf in meta["leaves"].items()}
        fits = saved == {path: list(leaf.shape) for path, leaf in _leaves(like)}
        differing = _differences(meta["settings"], self._settings)
        if differing and not (fits and self._read_only):
            raise ValueError(
                f"{name} was made with {', '.join(differing)}; use its settings, or "
                "another --workdir"
            )
        if not fits:
            raise ValueError(
                f"{name} holds other arrays than this version of the method; evaluate "
                "it with the version that made it, or use another --workdir"
            )


@contextlib.contextmanager
def _damage_of(name: str) -> Iterator[None]:
    """Say in one line that files of a checkpoint are missing or cut short."""
    try:
        yield
    # What Orbax and TensorStore raise for one or the other.
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{name} is damaged: {reason:.200}; remove it to go on from the one before"
        ) from error


def _lock(directory: Path) -> TextIO:
    """Keep other writers out until the file is closed or this process ends."""
    directory.mkdir(parents=True, exist_ok=True)
    # Each host of a run has a file of its own.
    file = (directory / f".lock{jax.process_index()}").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(
            f"{directory}: got a run that another process trains, expected one that "
            "none does; wait for it, or use another --workdir"
        ) from error
    return file


def _open(directory: Path, keep: int, read_only: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        cleanup_tmp_directories=not read_only,
        create=not read_only,
        todelete_subdir=_TRASH,
    )
    manager = ocp.CheckpointManager(directory.absolute(), options=options)
    _finish(manager, read_only)
    return manager


def _finish(manager: ocp.CheckpointManager, read_only: bool) -> None:
    """Wait for the save under way, and remove what it has replaced."""
    manager.wait_until_finished()
    if not read_only:
        shutil.rmtree(Path(str(manager.directory)) / _TRASH, ignore_errors=True)


def _read_meta(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    restored = manager.restore(
        step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
    )
    if not isinstance(restored.meta, dict) or "leaves" not in restored.meta:
        raise ValueError("got no description of its arrays")
    return restored.meta


def _describe(state: TrainState) -> dict[str, dict[str, Any]]:
    """Shape and checksum of each array, as JSON holds them."""
    return {
        path: {
            "shape": list(leaf.shape),
            "crc32": zlib.crc32(np.ascontiguousarray(leaf).data),
        }
        for path, leaf in _leaves(state)
    }


def _leaves(state: TrainState) -> list[tuple[str, Any]]:
    return [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree.leaves_with_path(vars(state))
    ]


def _differences(saved: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The settings that differ, one text each."""
    saved, wanted = _flatten(saved), _flatten(wanted)
    return [
        f"{key}={saved.get(key)!r} (config: {wanted.get(key)!r})"
        for key in sorted(saved.keys() | wanted.keys())
        if saved.get(key) != wanted.get(key)
    ]


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
