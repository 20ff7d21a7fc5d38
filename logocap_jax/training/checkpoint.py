"""Checkpoints of a run: the last states and the best one."""

import fcntl
import json
import logging
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax

from logocap_jax.training.checkpoint_folder import (
    CheckpointFolder,
    DamagedError,
    check_fit,
)
from logocap_jax.training.errors import LockedError, NoUsableCheckpointError
from logocap_jax.training.state import TrainState

_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run, in `directory/last` and `directory/best`.

    One that is damaged is passed over with a warning, for the one before. A writer
    moves it to `directory/damaged`, so that its step can be saved again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: dict[str, Any],
        about: dict[str, Any] | None = None,
        keep: int = 2,
        free: Collection[str] = (),
        read_only: bool = False,
    ) -> None:
        """Open the folders; a writer makes them and removes what a kill left behind.

        Args:
          directory: folder of the run's checkpoints.
          settings: settings of the method, on which the state depends. A writer
            refuses a checkpoint made with others; a reader only one whose arrays
            have other shapes, or whose `skeleton` is another: some settings count at
            test time alone.
          about: further facts for readers of a checkpoint.
          keep: number of last checkpoints kept.
          free: settings that may differ for a writer, too, as `method.flip_test`.
          read_only: change nothing, so that a run under way can be evaluated.

        Raises:
          LockedError: if another process writes there.
        """
        self._directory = directory
        self._settings = json.loads(json.dumps(settings))
        self._free = free
        self._meta = {"settings": self._settings, **(about or {})}
        self._read_only = read_only
        self._lock = None if read_only else _lock(directory)
        self._last = CheckpointFolder(
            directory / "last", keep=keep, read_only=read_only
        )
        self._best = CheckpointFolder(directory / "best", keep=1, read_only=read_only)

    def save_last(self, state: TrainState) -> None:
        """Save in the background; returns as soon as the state is copied.

        Raises:
          SaveError: if this save, or the one before, fails.
        """
        assert not self._read_only
        self._last.save(state, self._meta)

    def save_best(self, state: TrainState, score: float) -> None:
        """Save if the score beats that of the saved best; NaN beats nothing.

        Raises:
          SaveError: if it fails.
        """
        assert not self._read_only
        best = self.best_score()
        if not math.isnan(score) and (best is None or score > best):
            self._best.save(state, {**self._meta, "score": score})
            self._best.wait()

    def best_score(self) -> float | None:
        """The score of the saved best, if there is one."""
        for step in self._best.steps():
            try:
                return float(self._best.read_meta(step)["score"])
            except DamagedError as error:
                self._pass_over(self._best, step, error, "none")
        return None

    def restore_last(self, like: TrainState) -> TrainState | None:
        """Restore the newest whole state, or None in a new run.

        Shapes and shardings of the result are those of `like`.

        Raises:
          MismatchError: if the checkpoint is of another config or architecture.
          NoUsableCheckpointError: if there are checkpoints, and all are damaged.
        """
        self._last.wait()
        return self._restore([(self._last, step) for step in self._last.steps()], like)

    def restore_best(self, like: TrainState) -> TrainState | None:
        """Restore the best state or, without one, the last; see `restore_last`."""
        self._last.wait()
        folders = (self._best, self._last)
        return self._restore([(f, step) for f in folders for step in f.steps()], like)

    def close(self) -> None:
        """Wait for saves under way and let other processes write.

        Raises:
          SaveError: if one fails.
        """
        try:
            self._last.close()
        finally:
            self._best.close()
            if self._lock is not None:
                self._lock.close()

    def _restore(
        self, candidates: Sequence[tuple[CheckpointFolder, int]], like: TrainState
    ) -> TrainState | None:
        """The first of the candidates that is whole."""
        damaged: list[tuple[CheckpointFolder, int, DamagedError]] = []
        for folder, step in candidates:
            try:
                meta = folder.read_meta(step)
                check_fit(
                    meta,
                    like,
                    self._settings,
                    free=self._free,
                    name=folder.name(step),
                    shapes_suffice=self._read_only,
                )
                state = folder.restore(step, meta, like)
            except DamagedError as error:
                damaged.append((folder, step, error))
                continue
            # Only now: if none is whole, all stay where they are.
            for passed_over in damaged:
                self._pass_over(*passed_over, folder.name(step))
            return state
        if damaged:
            reasons = [f"{folder.name(n)}: {error}" for folder, n, error in damaged]
            raise NoUsableCheckpointError(
                f"{self._directory}: got only damaged checkpoints, expected a "
                f"whole one ({'; '.join(reasons)}); use another --workdir to start over"
            )
        return None

    def _pass_over(
        self, folder: CheckpointFolder, step: int, error: DamagedError, used: str
    ) -> None:
        """Warn of a damaged checkpoint; a writer moves it."""
        moved = ""
        if not self._read_only:
            target = folder.set_aside(step, self._directory / "damaged")
            moved = f", and set aside as {target}"
        _LOG.warning(
            "%s is damaged (%s)%s; using %s", folder.name(step), error, moved, used
        )


def _lock(directory: Path) -> TextIO:
    """Keep other writers out until the file is closed or this process ends."""
    directory.mkdir(parents=True, exist_ok=True)
    # Each host of a run has a file of its own.
    file = (directory / f".lock{jax.process_index()}").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise LockedError(
            f"{directory}: got a run that another process trains, expected one that "
            "none does; wait for it, or use another --workdir"
        ) from error
    return file
