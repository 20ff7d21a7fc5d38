"""The order of training: records to shuffled, augmented, sharded batches.

Every array of step `s` follows from the seed, `s` and the global batch size alone:
neither workers nor hosts nor restarts change it. So a run resumes by its step, and no
state of the loader is ever saved.
"""

import functools
import os
import signal
import threading
import time
from collections.abc import Generator

import cv2
import grain
import numpy as np
from absl import flags

from data_pipeline.augment import Augmentation
from data_pipeline.examples import Example, train_example
from data_pipeline.sources import Source, check_share


def make_train_dataset(
    source: Source,
    *,
    input_size: int,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    max_people: int = 30,
    start_step: int = 0,
    num_workers: int = 0,
    num_threads: int = 4,
    host_index: int = 0,
    num_hosts: int = 1,
) -> Generator[Example, None, None]:
    """Yield training batches without end; `close()` it to stop the workers.

    Args:
      source: records; each epoch is one permutation of them.
      input_size: side of the square input, input px.
      batch_size: images per step over all hosts.
      seed: of order and augmentation.
      augmentation: ranges of the random similarity.
      max_people: people per image; beyond them the largest stay.
      start_step: the first batch is the one of this step.
      num_workers: processes that load; 0 loads in threads of this one.
      num_threads: threads that load, in each process.
      host_index: which of the hosts this is; it gets its share of each batch.
      num_hosts: number of hosts.

    Yields:
      The arrays of `examples.train_example`, each with a batch axis in front.

    Raises:
      ValueError: if the source is empty or a number makes no sense; while iterating,
        if an image is unreadable (there is no going on without it).
    """
    check_share(source, batch_size, host_index, num_hosts)
    # 32 is the stride of the deepest branch of the networks.
    if input_size <= 0 or input_size % 32:
        raise ValueError(f"got input_size={input_size}, expected a multiple of 32")
    if max_people < 1:
        raise ValueError(f"got max_people={max_people}, expected 1 or more")
    for name, value in (("start_step", start_step), ("seed", seed)):
        if value < 0:
            raise ValueError(f"got {name}={value}, expected >= 0")
    augment = functools.partial(
        train_example,
        skeleton=source.skeleton,
        input_size=input_size,
        augmentation=augmentation,
        max_people=max_people,
    )
    # Augment before the slices, so that they do not move the random numbers; batch
    # before workers, so that their number does not change which images meet.
    dataset = (
        grain.MapDataset.source(source)
        .seed(seed)
        .shuffle()
        .repeat(None)
        .random_map(augment)[host_index::num_hosts]
        .batch(batch_size // num_hosts, drop_remainder=True)[start_step:]
    )
    iterable = dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    )
    if num_workers:
        iterable = _in_workers(iterable, num_workers)
    return _closing(iterable)


def _in_workers(iterable: grain.IterDataset, num_workers: int) -> grain.IterDataset:
    # grain 0.2.18 reads a flag that nobody has parsed outside `absl.app.run`.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return iterable.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2),
        worker_init_fn=functools.partial(_start_worker, parent=os.getpid()),
    )


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


def _closing(iterable: grain.IterDataset) -> Generator[Example, None, None]:
    iterator = iter(iterable)
    try:
        for batch in iterator:
            # Copies: a worker's arrays are views of shared memory that it reuses.
            yield {name: np.array(values) for name, values in batch.items()}
    finally:
        iterator.close()
