"""Processes that load batches: they live as long as the trainer, and never hang it."""

import functools
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator

import cv2
import grain
from absl import flags

from data_pipeline.feed.examples import Example

# grain's words for a worker that has ended without an exception.
_DEATH = re.compile(r"terminated unexpectedly with exit code (-?\d+)")
_GRAIN_WORKER = "grain-process-prefetch"

# Of `WorkerError` in logocap_jax/training/errors.py.
EXIT_CODE = 9


def in_workers(iterable: grain.IterDataset, num_workers: int) -> grain.IterDataset:
    """Load in processes; iterate the result with `batches_of_workers`."""
    # grain 0.2.18 reads a flag that nobody has parsed outside `absl.app.run`.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return iterable.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2),
        worker_init_fn=functools.partial(_start_worker, parent=os.getpid()),
    )


def batches_of_workers(batches: Iterator[Example], stall_s: float) -> Iterator[Example]:
    """Yield what `in_workers` loads; give up on workers that are dead or stuck.

    After `stall_s` seconds without a batch workers count as stuck.

    Raises:
      ChildProcessError: if a worker has died or, for so long, brought nothing; the
        stuck ones are killed.
    """
    watch = _StallWatch(stall_s)
    watch.start()
    try:
        while True:
            watch.waiting_since = watch.ticks
            batch = next(batches)
            watch.waiting_since = None
            yield batch
    except RuntimeError as error:
        death = _DEATH.search(str(error))
        if death is None:
            raise
        reason = _exit_reason(int(death[1]))
        if watch.has_killed:
            reason = f"brought no batch for {stall_s:g} s (killed)"
        raise ChildProcessError(
            f"got an input worker that {reason}, expected a batch; look at its memory "
            "and disk, then run again, with fewer or more patient workers if need be"
        ) from error
    finally:
        watch.stop()


class _StallWatch(threading.Thread):
    """Kills the workers once a batch has been waited for too long.

    grain waits without end for a worker that is stuck, but not for one that is dead.
    Time is counted in polls: a run that was itself suspended has not waited.

    Python writes to a new worker what it is to do, and waits without end if the
    worker has died instead of reading it. Nothing wakes that wait: the process ends.
    """

    def __init__(
        self, limit_s: float, *, poll_s: float = 0.25, grace_s: float = 10.0
    ) -> None:
        super().__init__(daemon=True)
        self.ticks = 0
        self.waiting_since: int | None = None
        self.has_killed = False
        self._limit = limit_s / poll_s
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._is_stalled():
            if self._stopped.wait(self._poll_s):
                return
            self.ticks += 1
        self.has_killed = True
        for process in multiprocessing.active_children():
            if process.name.startswith(_GRAIN_WORKER):
                process.kill()
        if not self._stopped.wait(self._grace_s):
            print(
                "error: got an input worker that died at its start, expected a batch; "
                "see above for its reason, if it told one",
                file=sys.stderr,
                flush=True,
            )
            os._exit(EXIT_CODE)

    def _is_stalled(self) -> bool:
        since = self.waiting_since
        return since is not None and self.ticks - since > self._limit

    def stop(self) -> None:
        self._stopped.set()


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _start_worker(
    index: int, count: int, *, parent: int, poll_seconds: float = 0.25
) -> None:
    """Make a worker live exactly as long as its parent.

    A signal to the process group must reach the trainer first, and a killed trainer
    must not leave it behind.
    """
    del index, count
    cv2.setNumThreads(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll_seconds)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
