"""Input: time from image files to batches, their bytes, and the host's memory.

Rows `read` to `example` are of one thread of this process. A `pipeline` row goes from
files to batches on the host, as training takes them, with that many input workers.
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from data_pipeline.feed.affine import warp_image
from data_pipeline.feed.examples import (
    Example,
    train_example,
)
from data_pipeline.feed.loss_masks import loss_masks
from data_pipeline.read.images import decode_image, read_encoded
from data_pipeline.read.sources import Source, open_source
from logocap_jax.experiment.run import Run, resolve
from logocap_jax.experiment.settings import load_config
from logocap_jax.measure import record
from logocap_jax.measure.benchmark import report, split, whole_number
from logocap_jax.measure.rows import Row, Timing, format_rows, measure

_MOST_IMAGES = 64  # of the source, for the rows of one thread


@dataclasses.dataclass(frozen=True)
class Resident:
    """Resident memory, bytes: of this process, and of all its workers together."""

    trainer: int
    workers: int


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """The figures of one number of input workers, but the times."""

    key: str  #: of its row
    #: Memory after the warm-up and after each sample; empty where the system does not
    #: tell (it is not Linux).
    resident: Sequence[Resident]
    batches: int  #: in a sample
    bytes_per_image: float  #: all arrays of a batch, as they go to the devices
    image_and_mask_bytes: float  #: those of image and masks alone, per image

    def lines(self) -> Iterator[str]:
        """Bytes and memory in words."""
        name = self.key.partition(":")[0]
        share = self.bytes_per_image / self.image_and_mask_bytes
        yield (
            f"{name}: {self.bytes_per_image:,.0f} bytes per image to the devices, "
            f"{share:.3f} times image and mask"
        )
        if self.resident:
            first, last = (self.resident[i] for i in (0, -1))
            yield (
                f"{name}: memory over {self.batches * (len(self.resident) - 1)} "
                f"batches: trainer {first.trainer >> 20} to {last.trainer >> 20} MiB, "
                f"workers {first.workers >> 20} to {last.workers >> 20} MiB"
            )


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
      ValueError: if the config, the data or a number is unusable.
    """
    for name in ("batches", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, expected >= 1")
    config = load_config(args.config, args.set)
    if args.data_dir is not None:
        config.data.dir = args.data_dir
    workers = split(args.workers, whole_number("--workers", least=0))
    earlier = None if args.compare is None else record.read_record(args.compare)
    resolved = resolve(config)
    source = open_training_source(resolved)
    rows = measure_stages(resolved, source, rounds=args.rounds)
    pipelines = []
    for count in workers:
        row, pipeline = measure_pipeline(
            resolved, source, count, batches=args.batches, rounds=args.rounds
        )
        rows.append(row)
        pipelines.append(pipeline)
    print(format_rows(rows), "", sep="\n")
    for pipeline in pipelines:
        print(*pipeline.lines(), sep="\n")
    report(rows, earlier)
    if args.json is not None:
        about = record.describe(record.own_command(), config)
        figures = [dataclasses.asdict(pipeline) for pipeline in pipelines]
        record.write_record(args.json, about | {"pipelines": figures}, rows)
    return 0


def open_training_source(run: Run) -> Source:
    """The images that a run trains on.

    Raises:
      ValueError: if it names none, or they are unusable.
    """
    data = run.settings.data
    if not data.dir:
        raise ValueError("got no data folder; set --data-dir=DIR")
    return open_source(Path(data.dir), data.train_split, with_people_only=True)


def measure_stages(run: Run, source: Source, *, rounds: int) -> list[Row]:
    """Time reading, decoding, warping and a whole example, each by itself.

    In one thread, image by image; the inputs of a stage are made beforehand.

    Raises:
      ValueError: if an image is unusable.
    """
    stages, count = _make_stages(run, source)

    def over_all(stage: Callable[[int], object]) -> Callable[[], None]:
        def call() -> None:
            for index in range(count):
                stage(index)

        return call

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in an input worker
    try:
        calls = {name: over_all(stage) for name, stage in stages.items()}
        timings = measure(calls, rounds=rounds, seconds=0.0)
    finally:
        cv2.setNumThreads(threads)
    setting = f"{count} images, {run.settings.data.input_size} px, one thread"
    return [Row(name, setting, count, timing=time) for name, time in timings.items()]


def _make_stages(
    run: Run, source: Source
) -> tuple[dict[str, Callable[[int], object]], int]:
    """Functions of an image's position, and the number of images."""
    data = run.settings.data
    records = [source[i] for i in range(min(len(source), _MOST_IMAGES))]
    in_memory = [
        dataclasses.replace(record, image=read_encoded(record.image))
        for record in records
    ]
    size, strides = (data.input_size, data.input_size), run.inputs.mask_strides
    rng = np.random.default_rng(run.settings.seed)
    affines = [
        data.augmentation.draw(
            rng, image_size=(r.width, r.height), input_size=data.input_size
        )[0]
        for r in records
    ]
    images = [decode_image(record) for record in in_memory]

    def example(index: int) -> Example:
        return train_example(
            records[index],
            rng,
            skeleton=source.skeleton,
            input_size=data.input_size,
            augmentation=data.augmentation,
            max_people=data.max_people,
            mask_strides=strides,
            person_size=run.inputs.person_size,
            min_center_area=data.min_center_area,
        )

    stages: dict[str, Callable[[int], object]] = {
        "read": lambda i: read_encoded(records[i].image),
        "decode": lambda i: decode_image(in_memory[i]),
        "warp image": lambda i: warp_image(images[i], affines[i], size=size),
        "warp mask": lambda i: loss_masks(
            records[i], affines[i], size=size, strides=strides
        ),
        "example": example,
    }
    return stages, len(records)


def measure_pipeline(
    run: Run, source: Source, num_workers: int, *, batches: int, rounds: int
) -> tuple[Row, Pipeline]:
    """Time the way from files to batches on the host, once all buffers have filled.

    Without workers threads of this process load. A sample, and the warm-up, are
    `batches` long.

    Raises:
      ValueError: if a setting is out of range, or an image unusable.
    """
    batch_size, side = run.settings.batch_size, run.settings.data.input_size
    seconds = []
    with contextlib.closing(
        run.train_batches(source, num_workers=num_workers)
    ) as pipeline:
        batch = _take(pipeline, batches)
        readings = [read_resident()]
        for _ in range(rounds):
            start = time.perf_counter()
            batch = _take(pipeline, batches)
            seconds.append(time.perf_counter() - start)
            readings.append(read_resident())
    timing = Timing(tuple(seconds))
    images = batches * batch_size
    per_worker = images / timing.median / max(num_workers, 1)
    image_and_masks = _bytes({name: batch[name] for name in ("image", "masks")})
    row = Row(
        f"pipeline, {num_workers} workers",
        f"{batches} batches of {batch_size}, {side} px",
        images,
        timing=timing,
        remark=f"{per_worker:.4g} images/s per worker",
    )
    resident = [reading for reading in readings if reading is not None]
    sizes = (_bytes(batch) / batch_size, image_and_masks / batch_size)
    return row, Pipeline(row.key, resident, batches, *sizes)


def _take(pipeline: Iterator[Example], count: int) -> Example:
    """The last of so many batches."""
    (batch,) = collections.deque(itertools.islice(pipeline, count), maxlen=1)
    return batch


def _bytes(arrays: Any) -> int:
    return sum(array.nbytes for array in jax.tree.leaves(arrays))


def read_resident() -> Resident | None:
    """Resident memory now; None where the system does not tell."""
    children = multiprocessing.active_children()
    try:
        trainer, *workers = (
            _resident_bytes(pid)
            for pid in (os.getpid(), *(child.pid for child in children))
        )
    except FileNotFoundError:
        return None
    return Resident(trainer, sum(workers))


def _resident_bytes(pid: int | None) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
