"""The order of training: records to shuffled, augmented, sharded batches.

Every array of step `s` follows from the seed, `s` and the global batch size alone:
neither workers nor hosts nor restarts change it. So a run resumes by its step, and no
state of the loader is ever saved. Processes that load live as long as the trainer, and
never hang it.
"""

import functools
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator

import cv2
import grain
import numpy as np
from absl import flags

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.examples import (
    MIN_CENTER_AREA,
    Example,
    map_example,
    train_example,
)
from data_pipeline.feed.loss_masks import MASK_STRIDES
from data_pipeline.read.images import MAX_SIDE
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import Source, check_share

# Slots for people in an image: all of them take memory, used or not.
MAX_PEOPLE = 10_000

_LOG = logging.getLogger(__name__)


def make_train_dataset(
    source: Source,
    *,
    input_size: int,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    max_people: int = 30,
    mask_strides: tuple[int, ...] = MASK_STRIDES,
    person_size: str = "area",
    min_center_area: float = MIN_CENTER_AREA,
    start_step: int = 0,
    num_workers: int = 0,
    num_threads: int = 4,
    host_index: int = 0,
    num_hosts: int = 1,
    max_bad_records: int = 0,
    stall_s: float = 45.0,
    make: Callable[[ImageRecord, np.random.Generator], Example] | None = None,
) -> Generator[Example, None, None]:
    """Yield training batches without end; `close()` it to stop the workers.

    Args:
      source: records; each epoch is one permutation of them.
      input_size: side of the square input, input px.
      batch_size: images per step over all hosts.
      seed: of order and augmentation.
      augmentation: ranges of the random similarity.
      max_people: people per image; beyond them the largest stay.
      mask_strides: input px per cell of the loss masks.
      person_size: how people are measured, one of `examples.PERSON_SIZES`.
      min_center_area: people with less area, image px^2, have no pose centre.
      start_step: the first batch is the one of this step.
      num_workers: processes that load; 0 loads in threads of this one.
      num_threads: threads that load, in each process.
      host_index: which of the hosts this is; it gets its share of each batch.
      num_hosts: number of hosts.
      max_bad_records: unreadable records to replace by others, in each process; 0: the
        first one ends the iteration.
      stall_s: seconds without a batch after which workers count as stuck.
      make: makes the example of a record; None: `examples.train_example`, with the
        settings above.

    Yields:
      The arrays of `examples.make_example`, each with a batch axis in front.

    Raises:
      ValueError: if the source is empty or a number makes no sense; while iterating,
        if more records are unreadable than may be.
      ChildProcessError: while iterating, if a worker is dead or stuck.
    """
    check_share(source, batch_size, host_index, num_hosts)
    # 32 is the stride of the deepest branch of the networks.
    if not 0 < input_size <= MAX_SIDE or input_size % 32:
        raise ValueError(
            f"got input_size={input_size}, expected a multiple of 32 up to {MAX_SIDE}"
        )
    if not 1 <= max_people <= MAX_PEOPLE:
        raise ValueError(f"got max_people={max_people}, expected 1 to {MAX_PEOPLE}")
    numbers = {"start_step": start_step, "seed": seed, "num_workers": num_workers}
    for name, value in {**numbers, "max_bad_records": max_bad_records}.items():
        if value < 0:
            raise ValueError(f"got {name}={value}, expected >= 0")
    if not stall_s > 0:
        raise ValueError(f"got stall_s={stall_s}, expected more than 0")
    augment = make or functools.partial(
        train_example,
        skeleton=source.skeleton,
        input_size=input_size,
        augmentation=augmentation,
        max_people=max_people,
        mask_strides=mask_strides,
        person_size=person_size,
        min_center_area=min_center_area,
    )
    load = SkipBadRecords(source, augment, max_bad=max_bad_records)
    # Load before the slices, so that they do not move the random numbers; batch
    # before workers, so that their number does not change which images meet.
    dataset = (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .repeat(None)
        .random_map(load)[host_index::num_hosts]
        .batch(batch_size // num_hosts, drop_remainder=True)[start_step:]
    )
    iterable = dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    )
    if num_workers:
        iterable = in_workers(iterable, num_workers)
    return _closing(iterable, stall_s=stall_s if num_workers else None)


class SkipBadRecords:
    """Makes examples of positions; a bad record gives way to the next good one.

    Which one that is depends on the position and on the disk alone: not on what was
    read before, so neither workers nor restarts change a batch. Bad records are
    counted by position, each once, in each process by itself.
    """

    def __init__(
        self,
        source: Source,
        make: Callable[[ImageRecord, np.random.Generator], Example],
        *,
        max_bad: int,
    ) -> None:
        """Set up; `make` raises `ValueError` for a bad record."""
        self._source = source
        self._make = make
        self._max_bad = max_bad
        self._bad: dict[int, object] = {}

    def __call__(self, position: int, rng: np.random.Generator) -> Example:
        """Make the example of a record, or of the next good one, in cyclic order.

        Raises:
          ValueError: if there are more bad records than may be, or no good one.
        """
        count = len(self._source)
        for candidate in range(position, position + count):
            try:
                return self._make(self._source[candidate % count], rng)
            except ValueError as error:
                if self._max_bad == 0:
                    raise
                self._note(candidate % count, error)
        raise ValueError(f"got {count} bad records, expected a good one among them")

    def _note(self, position: int, error: ValueError) -> None:
        mine = object()
        # Threads share this: one of them is first to set it.
        is_new = self._bad.setdefault(position, mine) is mine
        count = len(self._bad)
        if count > self._max_bad:
            raise ValueError(
                f"got {count} bad records, expected at most {self._max_bad} "
                f"(max_bad_records), the last one: {error}"
            ) from error
        if is_new:
            _LOG.warning(
                "bad record %d, of %d that may be; others take its place: %s",
                count,
                self._max_bad,
                error,
            )


def _closing(
    iterable: grain.IterDataset, *, stall_s: float | None
) -> Generator[Example, None, None]:
    iterator = iter(iterable)
    batches = iterator if stall_s is None else batches_of_workers(iterator, stall_s)
    try:
        for batch in batches:
            # Copies: a worker's arrays are views of shared memory that it reuses.
            yield map_example(np.array, batch)
    finally:
        iterator.close()


# grain's words for a worker that has ended without an exception.
_DEATH = re.compile(r"terminated unexpectedly with exit code (-?\d+)")
_GRAIN_WORKER = "grain-process-prefetch"
# Seconds between two looks at workers or parent; for killed workers to end.
_POLL_S, _GRACE_S = 0.25, 10.0

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
        code = int(death[1])
        reason = f"ended with exit code {code}"
        if code < 0:
            reason = f"was killed by {signal.Signals(-code).name}"
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

    def __init__(self, limit_s: float) -> None:
        super().__init__(daemon=True)
        self.ticks = 0
        self.waiting_since: int | None = None
        self.has_killed = False
        self._limit = limit_s / _POLL_S
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._is_stalled():
            if self._stopped.wait(_POLL_S):
                return
            self.ticks += 1
        self.has_killed = True
        for process in multiprocessing.active_children():
            if process.name.startswith(_GRAIN_WORKER):
                process.kill()
        if not self._stopped.wait(_GRACE_S):
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


def _start_worker(index: int, count: int, *, parent: int) -> None:
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
            time.sleep(_POLL_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
