"""Checkpoints: the last state and the best one, crash-safe, by Orbax."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from logocap_jax.training.state import TrainState

# Orbax deletes an old checkpoint file by file; a process killed meanwhile would
# leave half of one under a valid name. Moved in here first, it never does.
_TRASH = ".todelete"


class Checkpoints:
    """The checkpoints of one run, in `directory/last` and `directory/best`."""

    def __init__(
        self, directory: Path, *, settings: dict[str, Any], keep: int = 2
    ) -> None:
        """Open or create the folders.

        Args:
          directory: folder of the run's checkpoints.
          settings: what the state's shapes depend on (the method's settings); a
            checkpoint made with others is refused.
          keep: number of last checkpoints kept.
        """
        self._settings = settings
        self._last = _open(directory / "last", keep)
        self._best = _open(directory / "best", 1)

    def save_last(self, state: TrainState) -> None:
        """Save in the background; returns as soon as the state is copied."""
        self._save(self._last, state, {})

    def save_best(self, state: TrainState, score: float) -> None:
        """Save in the background if the score beats that of the saved best."""
        best = self.best_score()
        if best is None or score > best:
            self._save(self._best, state, {"score": score})

    def best_score(self) -> float | None:
        """The score of the saved best, if there is one."""
        step = self._best.latest_step()
        if step is None:
            return None
        self._best.wait_until_finished()
        return float(self._read_meta(self._best, step)["score"])

    def restore_last(self, like: TrainState) -> TrainState | None:
        """The newest state, or None in a new run.

        Args:
          like: a state whose shapes and shardings the result gets.

        Raises:
          ValueError: if the checkpoint is of another architecture.
        """
        return self._restore(self._last, like)

    def restore_best(self, like: TrainState) -> TrainState | None:
        """The best state, or None where none was saved; see `restore_last`."""
        return self._restore(self._best, like)

    def close(self) -> None:
        """Wait for saves under way."""
        for manager in (self._last, self._best):
            manager.wait_until_finished()
            _empty_trash(Path(str(manager.directory)))
            manager.close()

    def _save(
        self,
        manager: ocp.CheckpointManager,
        state: TrainState,
        extra: dict[str, Any],
    ) -> None:
        step = int(state.step)
        if step in manager.all_steps():
            return
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                meta=ocp.args.JsonSave({"settings": self._settings, **extra}),
            ),
        )

    def _restore(
        self, manager: ocp.CheckpointManager, like: TrainState
    ) -> TrainState | None:
        step = manager.latest_step()
        if step is None:
            return None
        saved = self._read_meta(manager, step)["settings"]
        _check_settings(saved, self._settings, f"{manager.directory}/{step}")
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return restored.state

    def _read_meta(self, manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
        restored = manager.restore(
            step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
        )
        return restored.meta


def _open(directory: Path, keep: int) -> ocp.CheckpointManager:
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    _empty_trash(directory)
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        cleanup_tmp_directories=True,
        todelete_subdir=_TRASH,
        save_interval_steps=1,
    )
    return ocp.CheckpointManager(directory, options=options)


def _empty_trash(directory: Path) -> None:
    shutil.rmtree(directory / _TRASH, ignore_errors=True)


def _check_settings(saved: Any, wanted: Any, where: str) -> None:
    saved, wanted = (_flatten(json.loads(json.dumps(x))) for x in (saved, wanted))
    differing = [
        f"{key}={saved.get(key)!r} (config: {wanted.get(key)!r})"
        for key in sorted(saved.keys() | wanted.keys())
        if saved.get(key) != wanted.get(key)
    ]
    if differing:
        raise ValueError(
            f"checkpoint {where} was made with {', '.join(differing)}; "
            "use its settings, or another --workdir"
        )


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
